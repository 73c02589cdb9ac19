import type { Host } from '../op';
import type { SoftmaxCall } from './call';

/** In float64. */
export function softmax({ x, out }: SoftmaxCall, { numbers, store }: Host): void {
  const columns = x.shape.at(-1) as number;
  const values = numbers(x);
  for (let first = 0; first < values.length; first += columns) {
    const row = values.subarray(first, first + columns);
    const largest = row.reduce((a, b) => Math.max(a, b));
    const weights = row.map((value) => Math.exp(value - largest));
    const sum = weights.reduce((a, b) => a + b);
    row.set(weights.map((weight) => weight / sum));
  }
  store(out, values);
}
