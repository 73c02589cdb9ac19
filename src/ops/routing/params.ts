import { struct } from '../../runtime/wasm/struct';

/** Rows of a task. */
export const ROWS = 16;

export const RouteParams = struct({ rows: 'i32', choices: 'i32', logits: 'tensor', bank: 'tensor', out: 'tensor' });

export const RouteBackwardParams = struct({
  ...{ rows: 'i32', choices: 'i32', logits: 'tensor', bank: 'tensor' },
  ...{ gradOut: 'tensor', gradLogits: 'tensor', gradBank: 'tensor' },
});

export const FocusParams = struct({ rows: 'i32', columns: 'i32', x: 'tensor', exponents: 'tensor', out: 'tensor' });

export const FocusBackwardParams = struct({
  ...{ rows: 'i32', columns: 'i32', x: 'tensor', exponents: 'tensor' },
  ...{ gradOut: 'tensor', gradX: 'tensor', gradExponents: 'tensor' },
});
