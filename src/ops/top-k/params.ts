import { struct } from '../../runtime/cpu/struct';

/** So many are picked as they come; more are taken from the sorted row. */
export const PICKED = 64;

export const TopKParams = struct({
  rows: 'i32',
  columns: 'i32',
  k: 'i32',
  descending: 'bool',
  rowsOfTask: 'i32',
  x: 'tensor',
  indices: 'tensor',
  values: 'tensor',
  /** Two rows of entries for each task, where rows are sorted. */
  entries: 'usize',
});
