import { struct } from '../../runtime/wasm/struct';

/** Elements of a task. */
export const RUN = 16384;

export const CopyParams = struct({ size: 'usize', elementBytes: 'usize', x: 'tensor', out: 'tensor', axes: 'usize' });

/** Of each axis, after the params: strides of both sides in bytes. */
export const CopyAxis = struct({ extent: 'usize', from: 'usize', to: 'usize' });
