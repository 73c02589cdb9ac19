import { struct } from '../../runtime/wasm/struct';

/** Rows of a task. */
export const ROWS = 16;

export const RmsNormParams = struct({
  ...{ rows: 'i32', columns: 'i32', x: 'tensor' },
  /** 0 for the norm itself, else what its gradient with respect to x follows from. */
  gradOut: 'tensor',
  ...{ out: 'tensor', epsilon: 'f64', offset: 'f64' },
});
