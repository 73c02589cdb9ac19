/** What references in float64 share: arrays of numbers, and tensors of them. */
import type { HostTensor } from './host';
import { type Shape, sizeOf } from './shape';

export type Wide = HostTensor<'f64'> & { readonly data: Float64Array };

export const tensor = (data: Float64Array, shape: Shape): Wide => ({ dtype: 'f64', shape, data });

export const zeros = (shape: Shape): Wide => tensor(new Float64Array(sizeOf(shape)), shape);

export const at = (x: ArrayLike<number>, index: number): number => x[index] as number;

export function add(x: Float64Array, index: number, value: number): void {
  x[index] = at(x, index) + value;
}

export function addTo(into: Float64Array, x: Float64Array, factor: number): void {
  for (let i = 0; i < x.length; i++) add(into, i, factor * at(x, i));
}

/** The dot product of `length` numbers from a[i] and b[j] on, in four sums, since a single one would wait for each addition. */
export function dotAt(a: Float64Array, i: number, b: Float64Array, j: number, length: number): number {
  let [first, second, third, fourth] = [0, 0, 0, 0];
  let c = 0;
  for (; c + 3 < length; c += 4) {
    first += (a[i + c] as number) * (b[j + c] as number);
    second += (a[i + c + 1] as number) * (b[j + c + 1] as number);
    third += (a[i + c + 2] as number) * (b[j + c + 2] as number);
    fourth += (a[i + c + 3] as number) * (b[j + c + 3] as number);
  }
  for (; c < length; c++) first += (a[i + c] as number) * (b[j + c] as number);
  return first + second + third + fourth;
}

export const dot = (a: Float64Array, b: Float64Array): number => dotAt(a, 0, b, 0, a.length);

/** Row `index` of rows of `width` numbers. */
export const rowOf = (x: Float64Array, index: number, width: number): Float64Array =>
  x.subarray(index * width, (index + 1) * width);
