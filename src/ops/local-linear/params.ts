import { Contiguous, Operand } from '../../runtime/cpu/params';
import { fields, struct } from '../../runtime/cpu/struct';

/** Panels in a block: 168 keys, whose numbers for 24 queries fill 16 KiB. */
export const BLOCK_PANELS = 28;
/** Panels of queries in a block of the keys' gradients, which has four numbers for each pair. */
export const QUERY_PANELS = 12;
/** Numbers that the keys' gradients need of each query: its largest score, what belongs to its two factors and its ridge, its largest weight. */
export const ROW_LENGTH = 5;

export const Problem = struct({
  ...fields('i32', 'n', 'm', 'h', 'g', 'd', 'e'),
  causal: 'bool',
  scale: 'f64',
  /** The same for all rows, unless there is one for each. */
  ridge: 'f64',
  ridgeRows: Operand,
  direct: 'bool',
  tolerance: 'f64',
  maxIterations: 'i32',
  ...fields(Operand, 'q', 'k', 'v'),
  /** Keys and values of each head in panels [d][6 keys] and, six columns at a time, [m][6]; 0 where no kernel needs them. */
  ...{
    keyPanels: 'usize',
    keyColumnPanels: 'usize',
    valuePanels: 'usize',
    valueColumnPanels: 'usize',
    keySlices: 'usize',
  },
  /** The largest squared norm of a key and magnitude of a value, for each chunk of panels. */
  extremes: 'usize',
  /** Memory of the tiles being computed, and which parts of it are taken. */
  locks: 'usize',
  slots: 'i32',
  ...fields('usize', 'work', 'slotBytes'),
});

export const ForwardParams = struct({
  problem: Problem,
  out: Contiguous,
  ...fields('tensor', 'lse', 'solution', 'residual', 'iterations'),
});

export const BackwardParams = struct({
  problem: Problem,
  ...fields(Operand, 'gradOut', 'solution'),
  stopGradRidge: 'bool',
  ...fields(Contiguous, 'gradQ', 'gradK', 'gradV', 'gradRidge'),
  residual: 'tensor',
  /** The second solution, as the first lies, and [b][n][h] of `ROW_LENGTH` numbers. */
  second: Operand,
  rows: 'usize',
  /** Queries, solutions and gradients of each head, in panels and six columns at a time. */
  ...fields('usize', 'queryPanels', 'firstPanels', 'secondPanels', 'gradientPanels'),
  ...{
    queryColumnPanels: 'usize',
    firstColumnPanels: 'usize',
    secondColumnPanels: 'usize',
    gradientColumnPanels: 'usize',
  },
});
