/** Rows of a table, as they are or as f32; tasks are runs of rows. */
import { bytesOf, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { GatherParams, ROWS } from './params.generated.as';

export function gather(params: usize, task: i32, scratch: usize): void {
  const p = changetype<GatherParams>(params);
  const dtype = p.table.dtype;
  const isKept = p.out.dtype == dtype;
  const bytes = <usize>p.columns * bytesOf(dtype);
  const outBytes = <usize>p.columns * bytesOf(p.out.dtype);
  const last = min((task + 1) * ROWS, p.rows);
  for (let r = task * ROWS; r < last; r++) {
    // Those outside the table are a fault that the host tells.
    const index = max(0, min(p.count - 1, i32.load(p.indices + (<usize>r << 2))));
    const row = p.table.address + <usize>index * bytes;
    const out = p.out.address + <usize>r * outBytes;
    if (isKept) memory.copy(out, row, bytes);
    else loadRow(row, 1, dtype, p.columns, out);
  }
}
