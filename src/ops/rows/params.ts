import { struct } from '../../runtime/wasm/struct';

/** Rows of a task. */
export const ROWS = 16;

export const SoftmaxParams = struct({ rows: 'i32', columns: 'i32', x: 'tensor', out: 'tensor' });
