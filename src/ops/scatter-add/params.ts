import { struct } from '../../runtime/cpu/struct';

/** Columns that fill a cache line. */
export const LINE = 16;

/** Elements of the result that a task has, so that they stay in its cache from the first zero to the last sum. */
export const CACHED = 2 ** 18;

export const ScatterAddParams = struct({
  /** How many rows values have. */
  count: 'i32',
  rows: 'i32',
  columns: 'i32',
  /** Columns and rows of a task. */
  width: 'i32',
  range: 'i32',
  values: 'tensor',
  indices: 'tensor',
  out: 'tensor',
});
