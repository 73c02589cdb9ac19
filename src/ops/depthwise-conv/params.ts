import { struct } from '../../runtime/cpu/struct';

export const DepthwiseParams = struct({
  batch: 'i32',
  rows: 'i32',
  columns: 'i32',
  channels: 'i32',
  kernelRows: 'i32',
  kernelColumns: 'i32',
  dilationRows: 'i32',
  dilationColumns: 'i32',
  /** Whether the taps are taken from the last to the first, as the gradient with respect to x wants. */
  flipped: 'bool',
  x: 'tensor',
  /** The kernels, or what their gradient follows from. */
  other: 'tensor',
  /** 0 for none. */
  bias: 'tensor',
  out: 'tensor',
});
