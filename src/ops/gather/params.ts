import { struct } from '../../runtime/wasm/struct';

/** Rows of a task. */
export const ROWS = 16;

export const GatherParams = struct({
  ...{ rows: 'i32', columns: 'i32' },
  /** Rows of the table. */
  count: 'i32',
  ...{ table: 'tensor', indices: 'tensor', out: 'tensor' },
});
