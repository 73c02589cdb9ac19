import { struct } from '../../runtime/cpu/struct';

export const NormParams = struct({
  rows: 'i32',
  runs: 'usize',
  groups: 'usize',
  columns: 'usize',
  rowsOfPart: 'i32',
  /** All of them, or one. */
  groupsOfTask: 'i32',
  centred: 'bool',
  epsilon: 'f64',
  offset: 'f64',
  x: 'tensor',
  gain: 'tensor',
  bias: 'tensor',
  out: 'tensor',
  /** For the gradient. */
  gradOut: 'tensor',
  gradX: 'tensor',
  gains: 'tensor',
  biases: 'tensor',
});
