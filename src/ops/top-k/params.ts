import { struct } from '../../runtime/cpu/struct';

/** So many are picked as they come; more are taken from entries that are sorted, not all of a long row. */
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
  /** Room for so many entries for each task, twice, where they are sorted. */
  room: 'i32',
  entries: 'usize',
});
