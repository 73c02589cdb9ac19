import { struct } from '../../runtime/wasm/struct';

/** Rows of a task. */
export const ROWS = 16;

export const RouteParams = struct({ rows: 'i32', choices: 'i32', logits: 'usize', bank: 'usize', out: 'usize' });

export const RouteBackwardParams = struct({
  ...{ rows: 'i32', choices: 'i32', logits: 'usize', bank: 'usize' },
  ...{ gradOut: 'usize', gradLogits: 'usize', gradBank: 'usize' },
});

export const FocusParams = struct({ rows: 'i32', columns: 'i32', x: 'usize', exponents: 'usize', out: 'usize' });

export const FocusBackwardParams = struct({
  ...{ rows: 'i32', columns: 'i32', x: 'usize', exponents: 'usize' },
  ...{ gradOut: 'usize', gradX: 'usize', gradExponents: 'usize' },
});
