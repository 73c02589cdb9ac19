import { Contiguous } from '../../runtime/cpu/params';
import { struct } from '../../runtime/cpu/struct';

/** Rows of a task. */
export const ROWS = 16;

export const GatherParams = struct({
  rows: 'i32',
  columns: 'i32',
  /** Rows of the table. */
  count: 'i32',
  table: Contiguous,
  indices: 'tensor',
  out: Contiguous,
});
