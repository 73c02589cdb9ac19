import { struct } from '../../runtime/cpu/struct';

export { DTYPES } from './call';

/** Elements of a task. */
export const RUN = 16384;
/** Rows of out that a task writes side by side, where it takes them from columns. */
export const BAND = 16;

export const CopyParams = struct({
  size: 'usize',
  /** Codes of dtypes. */
  from: 'i32',
  to: 'i32',
  x: 'tensor',
  out: 'tensor',
  axes: 'usize',
  /** What out is a part of, if the rest is to be filled: where it lies, and an element of it as its bits. */
  whole: 'tensor',
  wholeSize: 'usize',
  bits: 'usize',
});

/** One for each axis, after the params: strides of both sides in bytes. */
export const CopyAxis = struct({ extent: 'usize', from: 'usize', to: 'usize' });
