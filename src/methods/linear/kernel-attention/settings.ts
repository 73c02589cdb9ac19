/** What follows from the params of `kernel-attention`, and what inputs they ask for. */
import { ParameterError, ShapeError } from '../../../errors';
import { drawDirections } from '../../../feature-maps/draw';
import { LARGEST_HEAD } from '../../../ops/gated-delta-rule';
import { MOST_FEATURES } from '../../../ops/linear-attention';
import { bindShapes, formatShape, type Shape } from '../../../tensor/shape';

export const PARTS = ['layer', 'advisor'] as const;
export const NORMS = ['maximum', 'none', 'unit'] as const;
export const LENGTHS = ['once', 'twice'] as const;
export const UPDATES = ['tokens', 'batch', 'mean', 'sum', 'frozen'] as const;

export interface KernelAttentionParams {
  readonly part: (typeof PARTS)[number];
  readonly features?: number | undefined;
  readonly norm: (typeof NORMS)[number];
  readonly lengths: (typeof LENGTHS)[number];
  readonly seed: number;
  readonly epsilon: number;
  readonly update: (typeof UPDATES)[number];
  readonly alpha: number;
  readonly beta: number;
}

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
