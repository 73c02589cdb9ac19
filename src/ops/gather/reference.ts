import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** Rows of table [t,c] (floats) picked by indices [r] (i32) -> out [r,c], f32 or of the table's dtype; contiguous. */
export interface GatherCall {
  readonly table: Tensor;
  readonly indices: Tensor;
  readonly out: Tensor;
}

/** Indices outside the table give its nearest row: the fault is told by the op. */
export function gather({ table, indices, out }: GatherCall, { numbers, store }: Host): void {
  const [count, columns] = table.shape as [number, number];
  const [rows, at] = [numbers(table), numbers(indices)];
  const result = new Float64Array(at.length * columns);
  at.forEach((index, r) => {
    const row = Math.max(0, Math.min(count - 1, index));
    result.set(rows.subarray(row * columns, (row + 1) * columns), r * columns);
  });
  store(out, result);
}
