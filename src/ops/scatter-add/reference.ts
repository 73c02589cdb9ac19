import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** Sums of the rows of values [n,c] with the same index of indices [n] (i32, checked by the caller) -> out [r,c]. */
export interface ScatterAddCall {
  readonly values: Tensor;
  readonly indices: Tensor;
  readonly out: Tensor;
}

/** Indices outside count as the nearest: the fault is told by the op. */
export function scatterAdd({ values, indices, out }: ScatterAddCall, { numbers, store }: Host): void {
  const [rows, columns] = out.shape as [number, number];
  const from = numbers(values);
  const sums = new Float64Array(out.size);
  numbers(indices).forEach((index, i) => {
    const row = Math.max(0, Math.min(rows - 1, index));
    for (let c = 0; c < columns; c++) sums[row * columns + c]! += from[i * columns + c]!;
  });
  store(out, sums);
}
