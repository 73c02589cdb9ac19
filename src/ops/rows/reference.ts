import type { Host } from '../op';
import type { RowwiseCall } from './call';

/** In float64. */
export function rowwise({ operation, x, out }: RowwiseCall, { numbers, store }: Host): void {
  const columns = x.shape.at(-1) as number;
  const values = numbers(x);
  const results = Array.from({ length: x.size / columns }, (_, r) => {
    const row = values.subarray(r * columns, (r + 1) * columns);
    if (operation === 'sum') return [row.reduce((sum, value) => sum + value, 0)];
    const largest = row.reduce((a, b) => Math.max(a, b));
    if (operation === 'max') return [largest];
    const weights = row.map((value) => Math.exp(value - largest));
    const sum = weights.reduce((a, b) => a + b);
    return [...weights.map((weight) => weight / sum)];
  });
  store(out, Float64Array.from(results.flat()));
}
