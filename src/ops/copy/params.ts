import { struct } from '../../runtime/wasm/struct';

export { DTYPES } from './call';

/** Elements of a task. */
export const RUN = 16384;

export const CopyParams = struct({
  /** Of out. */
  size: 'usize',
  /** Codes of dtypes. */
  ...{ from: 'i32', to: 'i32' },
  ...{ x: 'tensor', out: 'tensor', axes: 'usize' },
  /** What is around x, as the bits of an element. */
  around: 'usize',
});

/** Of each axis, after the params: strides of both sides in bytes, and which places of `extent` are those of x. */
export const CopyAxis = struct({ extent: 'usize', before: 'usize', inside: 'usize', from: 'usize', to: 'usize' });
