import { struct } from '../../runtime/cpu/struct';

/** Rows of a task. */
export const ROWS = 16;

/** What both passes read. */
export const Route = struct({
  rows: 'i32',
  choices: 'i32',
  /** Columns of x, and of y, which may be none. */
  width: 'i32',
  more: 'i32',
  x: 'tensor',
  y: 'tensor',
  router: 'tensor',
  bank: 'tensor',
  /** Working memory: the columns of the router as rows. */
  columns: 'usize',
});

export const RouteParams = struct({ route: Route, out: 'tensor' });

export const RouteBackwardParams = struct({
  route: Route,
  gradOut: 'tensor',
  gradX: 'tensor',
  gradY: 'tensor',
  gradRouter: 'tensor',
  gradBank: 'tensor',
  /** Working memory: [rows][choices], and the choice of each row. */
  gradLogits: 'usize',
  chosen: 'usize',
});

export const FocusParams = struct({ rows: 'i32', columns: 'i32', x: 'tensor', exponents: 'tensor', out: 'tensor' });

export const FocusBackwardParams = struct({
  rows: 'i32',
  columns: 'i32',
  x: 'tensor',
  exponents: 'tensor',
  gradOut: 'tensor',
  gradX: 'tensor',
  gradExponents: 'tensor',
});
