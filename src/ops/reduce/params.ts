import { struct } from '../../runtime/cpu/struct';

/** An operation is its place among them. */
export const REDUCTIONS = ['sum', 'mean', 'max', 'logSumExp', 'argmax'] as const;

/** Elements of a task, about, and rows of a part at least: parts depend on extents alone, so the bits do too. */
export const RUN = 16384;
export const ROWS = 256;

/** Columns that a thread has states of at a time. */
export const COLUMNS = 1024;

export const ReduceParams = struct({
  operation: 'i32',
  n: 'usize',
  inner: 'usize',
  /** Rows of a part; parts of n, and blocks of columns. */
  rows: 'usize',
  parts: 'usize',
  blocks: 'usize',
  /** A unit is a block of a part; how many there are, and in a task. */
  units: 'i32',
  together: 'i32',
  outputs: 'i32',
  x: 'tensor',
  out: 'tensor',
  /** States of parts, [outer,parts,inner]; 0 if each is whole. */
  values: 'usize',
  besides: 'usize',
});
