import { struct } from '../../runtime/wasm/struct';

/** Rows of a task. */
export const ROWS = 16;

export const LayerNormParams = struct({
  ...{ rows: 'i32', columns: 'i32', epsilon: 'f64' },
  ...{ x: 'usize', gain: 'usize', bias: 'usize', out: 'usize' },
});
