/**
 * Sums of rows with the same index. A task has some columns of some rows of the result and walks all indices, so each
 * sum is taken in their order whatever the tasks are.
 */
import { ScatterAddParams } from './params.generated.as';

export function scatterAdd(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ScatterAddParams>(params);
  const slices = (p.columns + p.width - 1) / p.width;
  const firstRow = (task / slices) * p.range;
  const range = min(p.range, p.rows - firstRow);
  const firstColumn = (task % slices) * p.width;
  const bytes = <usize>min(p.width, p.columns - firstColumn) << 2;
  const pitch = <usize>p.columns << 2;
  const out = p.out + <usize>firstRow * pitch + (<usize>firstColumn << 2);
  if (bytes == pitch) memory.fill(out, 0, <usize>range * pitch);
  else for (let r: i32 = 0; r < range; r++) memory.fill(out + <usize>r * pitch, 0, bytes);
  const count = p.count;
  const indices = p.indices;
  const lastRow = p.rows - 1;
  const values = p.values + (<usize>firstColumn << 2);
  for (let i: i32 = 0; i < count; i++) {
    // Those outside are a fault that the host tells.
    const row = max(0, min(lastRow, i32.load(indices + (<usize>i << 2)))) - firstRow;
    if (<u32>row < <u32>range) addRow(values + <usize>i * pitch, out + <usize>row * pitch, bytes);
  }
}

@inline
function addRow(x: usize, sums: usize, bytes: usize): void {
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) v128.store(sums + at, f32x4.add(v128.load(sums + at), v128.load(x + at)));
  for (; at < bytes; at += 4) f32.store(sums + at, f32.load(sums + at) + f32.load(x + at));
}
