/** QR decompositions by Householder reflections, a matrix a task, in float64. The diagonal of R is not negative. */
import { DenseParams } from './params.generated.as';
import { makeReflection } from './reflections.as';
import { addRow, put, widen } from './rows.as';

/** Q [rows][k] into `first` and R [k][columns] into `second`, k the smaller extent. */
export function qr(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DenseParams>(params);
  const rows = p.rows;
  const columns = p.columns;
  const k = min(rows, columns);
  const size = <usize>(p.wide ? 8 : 4);
  const r = p.memory + <usize>task * p.bytes;
  const q = r + (<usize>(rows * columns) << 3);
  const reflections = q + (<usize>(rows * k) << 3);
  const sums = reflections + (<usize>(rows * k) << 3);
  widen(p.a + <usize>task * <usize>(rows * columns) * size, p.wide, rows * columns, r);
  for (let j: i32 = 0; j < k; j++) {
    const v = reflections + (<usize>(j * rows) << 3);
    for (let i = j; i < rows; i++) f64.store(v + (<usize>i << 3), f64.load(r + (<usize>(i * columns + j) << 3)));
    makeReflection(v, j, rows);
    reflect(v, j, rows, r, columns, j, sums);
  }
  memory.fill(q, 0, <usize>(rows * k) << 3);
  for (let j: i32 = 0; j < k; j++) f64.store(q + (<usize>(j * k + j) << 3), 1);
  for (let j = k - 1; j >= 0; j--) reflect(reflections + (<usize>(j * rows) << 3), j, rows, q, k, j, sums);
  for (let j: i32 = 0; j < k; j++) {
    const sign: f64 = f64.load(r + (<usize>(j * columns + j) << 3)) < 0 ? -1 : 1;
    for (let i: i32 = 0; i < rows; i++)
      put(p.first, p.wide, (task * rows + i) * k + j, sign * f64.load(q + (<usize>(i * k + j) << 3)));
    for (let i: i32 = 0; i < columns; i++)
      put(p.second, p.wide, (task * k + j) * columns + i, i < j ? 0 : sign * f64.load(r + (<usize>(j * columns + i) << 3)));
  }
}

/** x [rows][columns] -= v v^T x, from row `first` and column `column` on. */
function reflect(v: usize, first: i32, rows: i32, x: usize, columns: i32, column: i32, sums: usize): void {
  const count = columns - column;
  memory.fill(sums, 0, <usize>count << 3);
  for (let i = first; i < rows; i++)
    addRow(sums, x + (<usize>(i * columns + column) << 3), count, f64.load(v + (<usize>i << 3)));
  for (let i = first; i < rows; i++)
    addRow(x + (<usize>(i * columns + column) << 3), sums, count, -f64.load(v + (<usize>i << 3)));
}
