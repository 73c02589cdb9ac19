import { struct } from '../../runtime/wasm/struct';

/** Rows of a task. */
export const ROWS = 16;

export const LayerNormParams = struct({
  ...{ rows: 'i32', columns: 'i32', epsilon: 'f64' },
  ...{ x: 'tensor', gain: 'tensor', bias: 'tensor', out: 'tensor' },
});
