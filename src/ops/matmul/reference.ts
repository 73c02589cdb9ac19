import type { Host } from '../op';
import type { MatmulCall } from './call';

/** In float64. */
export function matmul({ a, b, out }: MatmulCall, { numbers, store }: Host): void {
  const [left, right] = [numbers(a), numbers(b)];
  const [rows, inner] = a.shape as [number, number];
  const columns = b.shape[1] as number;
  const result = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    const row = result.subarray(r * columns, (r + 1) * columns);
    for (let i = 0; i < inner; i++) {
      const factor = left[r * inner + i]!;
      for (let c = 0; c < columns; c++) row[c]! += factor * right[i * columns + c]!;
    }
  }
  store(out, result);
}
