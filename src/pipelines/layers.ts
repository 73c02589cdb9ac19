/** Layers of small networks on pictures, channels last, by the names of their parameters. */
import type { Described } from '../nn/module';
import { project } from '../nn/projection';
import { conv } from '../ops/conv';
import { silu } from '../ops/map';
import { groupNorm } from '../ops/norm';
import type { Tensor } from '../tensor/tensor';

export type Weights = Readonly<Record<string, Tensor>>;

/** Channels of a group that is normalised together. */
const GROUP = 8;

/** Weights [out, ...in] and biases [out] by name; those whose names end in `.out` start at 0. */
export function layers(shapes: Readonly<Record<string, readonly [out: number, ...into: number[]]>>): Described {
  return Object.fromEntries(
    Object.entries(shapes).flatMap(([name, shape]) => {
      const [out, ...into] = shape;
      const std = name.endsWith('.out') ? 0 : 1 / Math.sqrt(into.reduce((a, b) => a * b));
      return [
        [`${name}.weight`, { shape, initial: { std } }],
        [`${name}.bias`, { shape: [out], initial: { value: 0 } }],
      ];
    }),
  );
}

/** Gains and biases [width] of norms by name. */
export const norms = (widths: Readonly<Record<string, number>>): Described =>
  Object.fromEntries(
    Object.entries(widths).flatMap(([name, width]) => [
      [`${name}.weight`, { shape: [width], initial: { value: 1 } }],
      [`${name}.bias`, { shape: [width], initial: { value: 0 } }],
    ]),
  );

/** x [..., in] -> [..., out]. */
export const dense = (p: Weights, name: string, x: Tensor): Tensor<'f32'> => project(name, x, p, {});

/** A convolution of x [b, rows, columns, c], as large unless it has a stride. */
export const convolved = (p: Weights, name: string, x: Tensor, stride = 1): Tensor<'f32'> =>
  conv(x, p[`${name}.weight`] as Tensor, { bias: p[`${name}.bias`], stride, padding: stride === 1 ? 'same' : 1 });

/** Groups of eight channels, each normalised over all places. */
export const normed = (p: Weights, name: string, x: Tensor): Tensor<'f32'> =>
  groupNorm(x, (x.shape.at(-1) as number) / GROUP, { gain: p[`${name}.weight`], bias: p[`${name}.bias`] });

export const active = (p: Weights, name: string, x: Tensor): Tensor<'f32'> => silu(normed(p, name, x));
