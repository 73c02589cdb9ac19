/** What a network sees: how much each place of a picture moves the middle of its result. */
import { checkFunction, isRecord, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkControl, checkOptions, checkTensors } from '../ops/check';
import { contiguous } from '../ops/copy';
import type { Control } from '../runtime/backend';
import { pullback } from '../tape';
import { type HostTensor, hostTensor } from '../tensor/host';
import { formatShape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

/** From pictures to features that have rows and columns too, of any extents: a function, or a model with such a `forward`. */
export type Network = ((pictures: Tensor) => Tensor) | { forward(pictures: Tensor): Tensor };

export interface ReceptiveFieldOptions extends Control {
  /** Whether pictures and features are [b, c, rows, columns] instead of [b, rows, columns, ...]; default false. */
  readonly channelsFirst?: boolean;
}

export interface ReceptiveField {
  /** [rows, columns], f64: magnitudes of the gradient of the middle features, summed over pictures and channels. */
  readonly field: HostTensor<'f64'>;
  /** The share of the sum within squares around the middle, by their sides 1, 3, 5, ... until the whole is in. */
  readonly curve: readonly { readonly side: number; readonly share: number }[];
  /** The standard deviation of the field about its middle, of rows and of columns, in pixels. */
  readonly deviation: readonly [rows: number, columns: number];
  /** The side of the smallest square around the middle that has this share, from 0 to 1. */
  side(share: number): number;
  /** The logarithm of the field as a grey picture, four bytes a pixel, as `ImageData` has them. */
  picture(): { readonly width: number; readonly height: number; readonly data: Uint8ClampedArray };
}

/**
 * The effective receptive field of a network, of convolutions or attention: the gradient of the sum of the features in the middle
 * of its result with respect to the pictures. One backward pass.
 *
 * @throws {ShapeError} pictures or features without rows and columns
 * @throws {ParameterError} a network that is no function, and an option that is unknown
 */
export async function effectiveReceptiveField(
  network: Network,
  pictures: Tensor,
  options: ReceptiveFieldOptions = {},
): Promise<ReceptiveField> {
  checkTensors({ pictures });
  checkOptions('effectiveReceptiveField', options, ['channelsFirst', 'signal', 'onProgress']);
  checkControl(options);
  const { channelsFirst = false } = options;
  if (typeof channelsFirst !== 'boolean')
    throw new ParameterError(`channelsFirst must be true or false, got ${show(channelsFirst)}`);
  const forward = isRecord(network) ? (network as { forward: unknown }).forward : network;
  checkFunction('network', forward);
  const axes = channelsFirst ? ([2, 3] as const) : ([1, 2] as const);
  checkSpace('pictures', pictures, axes);
  const [rows, columns] = axes.map((axis) => pictures.shape[axis]) as [number, number];
  const gradient = pictures.runtime.scope(() => {
    const call = (x: Tensor) =>
      isRecord(network)
        ? (network as { forward(x: Tensor): Tensor }).forward(x)
        : (forward as (x: Tensor) => Tensor)(x);
    const { results, pull } = pullback(call, pictures);
    checkSpace('the result of network', results, axes);
    const { signal, onProgress } = options;
    return contiguous(pull(middle(results, axes), { signal, onProgress }) as Tensor<'f32'>);
  });
  const values = await gradient.read();
  const { shape } = gradient;
  gradient.dispose();
  const field = new Float64Array(rows * columns);
  const step = axes.map((axis) => sizeOf(shape.slice(axis + 1))) as [number, number];
  for (let at = 0; at < values.length; at++) {
    const [row, column] = [Math.floor(at / step[0]) % rows, Math.floor(at / step[1]) % columns];
    const place = row * columns + column;
    field[place] = (field[place] as number) + Math.abs(values[at] as number);
  }
  return described(field, rows, columns);
}

function checkSpace(name: string, { shape, rank }: Tensor, axes: readonly [number, number]): void {
  if (rank < Math.max(4, axes[1] + 1))
    throw new ShapeError(
      `${name} must have shape [b, ${axes[0] === 2 ? 'c, rows, columns' : 'rows, columns, ...'}], got ${formatShape(shape)}`,
    );
}

/** Ones in the middle, zeros elsewhere. */
function middle({ runtime, shape }: Tensor, [rows, columns]: readonly [number, number]): Tensor<'f32'> {
  const numbers = new Float32Array(sizeOf(shape));
  const [height, width] = [shape[rows] as number, shape[columns] as number];
  const step = [rows, columns].map((axis) => sizeOf(shape.slice(axis + 1))) as [number, number];
  for (let at = 0; at < numbers.length; at++) {
    const isMiddle =
      Math.floor(at / step[0]) % height === Math.floor(height / 2) &&
      Math.floor(at / step[1]) % width === Math.floor(width / 2);
    if (isMiddle) numbers[at] = 1;
  }
  return runtime.tensor(numbers, shape);
}

function described(field: Float64Array, rows: number, columns: number): ReceptiveField {
  const [middleRow, middleColumn] = [Math.floor(rows / 2), Math.floor(columns / 2)];
  const total = field.reduce((sum, value) => sum + value, 0);
  const farthest = Math.max(middleRow, rows - 1 - middleRow, middleColumn, columns - 1 - middleColumn);
  const within = new Float64Array(farthest + 1);
  const squares: [number, number] = [0, 0];
  for (const [at, value] of field.entries()) {
    const [down, across] = [Math.floor(at / columns) - middleRow, (at % columns) - middleColumn];
    const distance = Math.max(Math.abs(down), Math.abs(across));
    within[distance] = (within[distance] as number) + value;
    squares[0] += value * down * down;
    squares[1] += value * across * across;
  }
  let sum = 0;
  const curve = Array.from(within, (value, distance) => {
    sum += value;
    return { side: 2 * distance + 1, share: total > 0 ? sum / total : 0 };
  });
  return {
    field: hostTensor(field, [rows, columns], 'f64'),
    curve,
    deviation: [Math.sqrt(squares[0] / total), Math.sqrt(squares[1] / total)],
    side(share) {
      // The sum of all is 1 but for rounding.
      const found = curve.find((each) => each.share >= Math.min(share, 1 - 1e-12));
      return found?.side ?? 2 * farthest + 1;
    },
    picture() {
      const largest = Math.max(...field);
      const data = new Uint8ClampedArray(4 * field.length).fill(255);
      // A thousandth of the largest is half as bright.
      const shade = (value: number) => (255 * Math.log1p((1e6 * value) / largest)) / Math.log1p(1e6);
      for (const [at, value] of field.entries()) data.fill(largest > 0 ? shade(value) : 0, 4 * at, 4 * at + 3);
      return { width: columns, height: rows, data };
    },
  };
}
