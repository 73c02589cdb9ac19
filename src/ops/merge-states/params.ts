import { struct } from '../../runtime/cpu/struct';

/** Rows of a task. */
export const ROWS = 32;

/** Columns that are merged at a time. */
export const COLUMNS = 256;

export const MergeParams = struct({
  rows: 'i32',
  columns: 'i32',
  dtype: 'i32',
  parts: 'usize',
  out: 'tensor',
  lse: 'tensor',
  gradOut: 'tensor',
  gradLse: 'tensor',
});

/** One for each part, after the params. */
export const Part = struct({ out: 'tensor', lse: 'tensor', gradOut: 'tensor', gradLse: 'tensor' });
