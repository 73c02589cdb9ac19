import type { Host } from '../../runtime/op';
import type { CumulativeSumCall } from './call';

/** In float64. */
export function cumulativeSum({ x, out, reverse }: CumulativeSumCall, { numbers, store }: Host): void {
  const columns = x.shape.at(-1) as number;
  const values = numbers(x);
  const sums = new Float64Array(values.length);
  for (let first = 0; first < values.length; first += columns) {
    let sum = 0;
    for (let c = 0; c < columns; c++) {
      const at = first + (reverse ? columns - 1 - c : c);
      sum += values[at]!;
      sums[at] = sum;
    }
  }
  store(out, sums);
}
