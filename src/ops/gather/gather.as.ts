/** Rows of a table; tasks are runs of rows. */
import { GatherParams, ROWS } from './params.generated.as';

export function gather(params: usize, task: i32, scratch: usize): void {
  const p = changetype<GatherParams>(params);
  const bytes = <usize>p.columns << 2;
  const last = min((task + 1) * ROWS, p.rows);
  for (let r = task * ROWS; r < last; r++) {
    // Those outside the table are a fault that the host tells.
    const index = max(0, min(p.count - 1, i32.load(p.indices + (<usize>r << 2))));
    memory.copy(p.out + <usize>r * bytes, p.table + <usize>index * bytes, bytes);
  }
}
