import { struct } from '../../runtime/cpu/struct';

export const CumulativeSumParams = struct({
  rows: 'i32',
  columns: 'i32',
  rowsOfTask: 'i32',
  reverse: 'bool',
  x: 'tensor',
  out: 'tensor',
});
