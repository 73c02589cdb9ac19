import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** Sums of each row of x [r,c] from its first element, or its last if reversed, up to each -> out [r,c]; f32, contiguous. */
export interface CumulativeSumCall {
  readonly x: Tensor;
  readonly out: Tensor;
  readonly reverse: boolean;
}

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
