import { struct } from '../../runtime/cpu/struct';

export const HeldRowsParams = struct({
  b: 'i32',
  n: 'i32',
  h: 'i32',
  d: 'i32',
  x: 'tensor',
  thresholds: 'tensor',
  held: 'tensor',
  share: 'tensor',
});
