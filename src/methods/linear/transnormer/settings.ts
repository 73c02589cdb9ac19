/** The params of `transnormer`, and what follows from them for its positions. */
import * as valibot from 'valibot';
import { ParameterError, ShapeError } from '../../../errors';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { formatShape, type Shape } from '../../../tensor/shape';
import { causal, choice, number, seed, whole } from '../../schema';

export const params = valibot.strictObject({
  attention: choice(['norm', 'diag'], 'NormAttention, for late layers, or DiagAttention, for early ones', 'norm'),
  causal,
  phi: choice(['1+elu', 'elu', 'relu', 'identity'], 'of norm: the feature map; T1 has elu, T2 1+elu', '1+elu'),
  block: whole('of diag: tokens of a block', { least: 1, preset: 64 }),
  weights: choice(['softmax', 'relu'], 'of diag: T1 has relu, with a norm, T2 softmax, without', 'softmax'),
  epsilon: number('added to the root mean square of the norm', { least: 0, preset: 1e-8 }),
  positions: choice(
    ['none', 'lrpe'],
    'lrpe: features of queries and keys are reflected, and rotated by their positions',
    'none',
  ),
  seed: seed('of the reflection, if not given', 0),
});
export type TransnormerParams = valibot.InferOutput<typeof params>;

export type Phi = TransnormerParams['phi'];

/** The angles by which rows of d channels are rotated. */
export interface Positions {
  /** The unit vector along which rows are reflected. */
  readonly direction: ArrayLike<number>;
  /** For each pair of channels the angle from a position to the next; a last channel without a pair stays. */
  readonly theta: ArrayLike<number>;
  /** The position of a token. */
  of(token: number): number;
}

/** What positions are given by. */
export type Rotations<T> = { readonly theta?: T | undefined; readonly reflection?: T | undefined };

/** Throws unless theta and reflection are expected and have the shapes for heads of d channels. */
export function checkPositions(
  given: Rotations<{ readonly shape: Shape }>,
  d: number,
  { positions }: TransnormerParams,
) {
  for (const [name, length] of [
    ['theta', Math.floor(d / 2)],
    ['reflection', d],
  ] as const) {
    const tensor = given[name];
    if (!tensor) continue;
    if (positions === 'none') throw new ParameterError(`${name} is for positions lrpe: set the param, or leave it out`);
    if (tensor.shape.length !== 1 || tensor.shape[0] !== length)
      throw new ShapeError(`${name} must have shape [${length}], got ${formatShape(tensor.shape)}`);
  }
}

/** From a position to the next, for each pair of channels: 10000^(-2 j / d), as in the authors' code. */
export const anglesOf = (d: number) =>
  Float32Array.from({ length: Math.floor(d / 2) }, (_, j) => 10_000 ** ((-2 * j) / d));

/** Initial values as in the authors' code, except for what is given, with a random reflection. */
export function positionsOf(
  { theta, reflection }: Rotations<HostTensor>,
  d: number,
  { attention, block, seed }: TransnormerParams,
): Positions {
  return {
    direction: reflection ? unitOf(reflection) : drawn(d, seed),
    theta: theta ? toFloat64(theta) : anglesOf(d),
    of: (token) => (attention === 'diag' ? token % block : token),
  };
}

const lengthOf = (x: Float64Array) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));

function drawn(d: number, seed: number): Float64Array {
  const values = Float64Array.from(normal(d, seed));
  return values.map((value) => value / lengthOf(values));
}

function unitOf(reflection: HostTensor): Float64Array {
  const values = toFloat64(reflection);
  if (Math.abs(lengthOf(values) - 1) < 1e-4) return values;
  throw new ParameterError(`reflection must have length 1, got ${lengthOf(values)}`);
}
