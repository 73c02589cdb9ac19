import { struct } from '../../runtime/wasm/struct';

export { ROWWISE } from './call';

/** Rows of a task. */
export const ROWS = 16;

export const RowwiseParams = struct({ operation: 'i32', rows: 'i32', columns: 'i32', x: 'tensor', out: 'tensor' });
