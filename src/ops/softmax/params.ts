import { struct } from '../../runtime/cpu/struct';

/** Columns of a task at most. */
export const COLUMNS = 1024;

export const SoftmaxParams = struct({
  rows: 'i32',
  n: 'usize',
  inner: 'usize',
  /** Rows of a task where inner is 1; else columns of a task, and tasks that share them. */
  together: 'usize',
  blocks: 'usize',
  x: 'tensor',
  out: 'tensor',
  /** For the gradient. */
  gradOut: 'tensor',
  gradX: 'tensor',
});
