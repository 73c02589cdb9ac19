/** What passes over one axis of a picture: weighted sums of its elements, and the largest of some. */
import type { Control } from '../../runtime/backend';
import { sizeOf } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { contiguous } from '../copy';
import { gather } from '../gather';
import { multiply } from '../matmul';
import { max } from '../reduce';

/** What each result along an axis is made of: places in x, and their weights. */
export type Taps = readonly (readonly (readonly [place: number, weight: number])[])[];

/** Sums of elements along an axis by weights, as a product with the matrix of the weights. */
export function weighed(x: Tensor, axis: number, taps: Taps, control: Control): Tensor<'f32'> {
  const extent = x.shape[axis] as number;
  const matrix = new Float32Array(taps.length * extent);
  for (const [row, each] of taps.entries())
    for (const [place, weight] of each)
      matrix[row * extent + place] = (matrix[row * extent + place] as number) + weight;
  const [lead, rest] = [x.shape.slice(0, axis), x.shape.slice(axis + 1)];
  const factor = x.runtime.tensor(matrix, [taps.length, extent]);
  const plain = { bias: undefined, epilogue: undefined };
  const whole = contiguous(x as Tensor<'f32'>);
  const out =
    rest.length === 0
      ? multiply({ ...plain, a: whole.reshape([sizeOf(lead), extent]), b: factor, transposeB: true }, control)
      : multiply({ ...plain, a: factor, b: whole.reshape([sizeOf(lead), extent, sizeOf(rest)]) }, control);
  return out.reshape([...lead, taps.length, ...rest]);
}

/** The largest of the elements at some places along an axis, for each of these lists; none is empty. */
export function largest(
  x: Tensor,
  axis: number,
  windows: readonly (readonly number[])[],
  control: Control,
): Tensor<'f32'> {
  const others = [...x.shape.keys()].filter((each) => each !== axis);
  const front = contiguous(x.permute([axis, ...others]) as Tensor<'f32'>);
  const rest = front.shape.slice(1);
  const width = Math.max(...windows.map(({ length }) => length));
  // A place that comes again changes no maximum, and has its share of the gradient.
  const places = windows.flatMap((window) =>
    Array.from({ length: width }, (_, at) => window[at % window.length] as number),
  );
  const indices = x.runtime.tensor(places, [windows.length, width], 'i32');
  const found = gather(front.reshape([front.shape[0] as number, sizeOf(rest)]), indices, control);
  const out = max(found, { axes: [1], ...control }).reshape([windows.length, ...rest]);
  const order = [axis, ...others];
  return contiguous(out.permute([...x.shape.keys()].map((each) => order.indexOf(each))));
}
