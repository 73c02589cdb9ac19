/** Rows of a table; tasks are runs of rows. */

/** Rows of one task. */
const ROWS: i32 = 16;

@unmanaged
class GatherParams {
  rows: f64;
  columns: f64;
  /** Rows of the table. */
  count: f64;
  table: f64;
  indices: f64;
  out: f64;
}

export function gather(params: usize, task: i32, scratch: usize): void {
  const p = changetype<GatherParams>(params);
  const bytes = <usize>p.columns << 2;
  const last = min((task + 1) * ROWS, <i32>p.rows);
  for (let r = task * ROWS; r < last; r++) {
    // Those outside the table are a fault that the host tells.
    const index = max(0, min(<i32>p.count - 1, i32.load(<usize>p.indices + (<usize>r << 2))));
    memory.copy(<usize>p.out + <usize>r * bytes, <usize>p.table + <usize>index * bytes, bytes);
  }
}
