/** The params of `kernel-attention`, what follows from them, and the inputs they need. */
import * as valibot from 'valibot';
import { ParameterError, ShapeError } from '../../../errors';
import { drawDirections } from '../../../feature-maps/draw';
import { MOST_FEATURES } from '../../../ops/linear-attention';
import { LARGEST_HEAD } from '../../../runtime/cpu/params';
import { bindShapes, formatShape, type Shape } from '../../../tensor/shape';
import { choice, number, seed, whole } from '../../schema';

export const params = valibot.strictObject({
  part: choice(['layer', 'advisor'], 'the layer of random features (KAL) or attention with the advisor (KAA)', 'layer'),
  features: whole('random features of a query or key; else those of directions, if given, or 10', {
    least: 1,
    most: MOST_FEATURES,
  }),
  norm: choice(
    ['maximum', 'none', 'unit'],
    'features over the largest, as in the code, as in the paper, or, of advisor, of length 1',
    'maximum',
  ),
  lengths: choice(
    ['once', 'twice'],
    'of drawn directions: Gaussian, or, as in the code, by the length of another one too',
    'once',
  ),
  seed: seed('of the directions, if not given', 42),
  epsilon: number('of layer: added to the denominators', { least: 0, preset: 1e-6 }),
  update: choice(
    ['tokens', 'batch', 'mean', 'sum', 'frozen'],
    'of advisor: token by token, all from the same state (batch) or by their mean, plain sums, none',
    'tokens',
  ),
  alpha: number('of advisor: it learns 1 + alpha times the values; the code has 0.1', { least: 0, preset: 0.7 }),
  beta: number('of advisor: share of the error that a token corrects; the code has 0.1', {
    least: 0,
    most: 1,
    preset: 0.7,
  }),
});
export type KernelAttentionParams = valibot.InferOutput<typeof params>;

/** As the authors' code has them. */
const USUAL_FEATURES = 10;
/** Added to each feature with the norm `maximum`, before the division by the root of their number. */
export const FLOOR = 1e-6;

type Shaped = { readonly shape: Shape };
export type Named<T> = Readonly<Record<'q' | 'k' | 'v', T>> & {
  readonly advisor?: T | undefined;
  readonly directions?: T | undefined;
};

/** Random directions [features, d], row-major: Gaussian rows, or such rows by the lengths of others. */
export function drawn(params: KernelAttentionParams, d: number): Float32Array {
  const { features = USUAL_FEATURES, lengths, seed } = params;
  const draw = { dimension: d, features, seed, orthogonal: false };
  if (lengths === 'once') return drawDirections(features, draw);
  const both = drawDirections(2 * features, draw);
  return both.subarray(0, features * d).map((value, at) => {
    const row = features + Math.floor(at / d);
    return value * Math.hypot(...both.subarray(row * d, (row + 1) * d));
  });
}

/** Throws unless the inputs fit each other and the params. */
export function checkInputs(tensors: Named<Shaped>, params: KernelAttentionParams): void {
  const { advisor, directions, q, k } = tensors;
  const specs: Record<string, string> = { q: 'b n h d', k: 'b m g d', v: 'b m g e' };
  if (directions) specs.directions = 'f d';
  if (advisor) specs.advisor = 'b h f e';
  const shapes = Object.keys(specs).map((name) => [name, (tensors[name as keyof typeof tensors] as Shaped).shape]);
  const { h, g, f } = bindShapes(specs, Object.fromEntries(shapes)) as Record<'h' | 'g' | 'f', number>;
  const features = params.features ?? (directions ? f : USUAL_FEATURES);
  if (f !== undefined && f !== features)
    throw new ShapeError(
      `${directions ? 'directions' : 'advisor'} must be of ${features} features, got ${f} in ${formatShape((directions ?? (advisor as Shaped)).shape)}`,
    );
  if (features > MOST_FEATURES)
    throw new ShapeError(`directions must have at most ${MOST_FEATURES} rows, got ${features}`);
  if (params.part === 'layer') {
    if (advisor) throw new ParameterError('advisor is an input of part advisor: leave it out with part layer');
    if (params.norm === 'unit')
      throw new ParameterError('norm unit is for part advisor: with part layer it reweighs keys');
    if (h % g !== 0)
      throw new ShapeError(
        `the ${g} heads of k ${formatShape(k.shape)} must divide the ${h} heads of q ${formatShape(q.shape)}`,
      );
    return;
  }
  if (params.update === 'tokens' && features > LARGEST_HEAD)
    throw new ParameterError(
      `update tokens, the delta rule, takes at most ${LARGEST_HEAD} features, got ${features}: choose batch, mean or sum`,
    );
  if (params.update === 'frozen' && !advisor) throw new ParameterError('update frozen needs the input advisor');
  if (h !== g)
    throw new ShapeError(
      `part advisor needs as many heads of k as of q, got q ${formatShape(q.shape)} and k ${formatShape(k.shape)}`,
    );
}
