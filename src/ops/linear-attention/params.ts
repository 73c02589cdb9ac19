import { Contiguous, Operand } from '../../runtime/cpu/params';
import { fields, struct } from '../../runtime/cpu/struct';

/** Rows of a chunk. */
export const CHUNK = 48;
/** Rows that a task of the small kernels takes. */
export const RUN = 64;
/** The most features of one pass, and columns. */
export const MOST_COLUMNS = 256;
/** The most features of all passes. */
export const MOST_FEATURES = 8192;

/** Rows of a tensor, converted as need be. */
export const Rows = struct({
  operand: Operand,
  /** Columns in memory, and whether a column of ones follows. */
  columns: 'i32',
  ones: 'bool',
  /** A number that divides the problem's heads. */
  heads: 'i32',
});

export const PassParams = struct({
  h: 'i32',
  /** Heads of all batches, and how many one task takes. */
  ...fields('i32', 'heads', 'group'),
  /** Queries and keys. */
  ...fields('i32', 'n', 'm'),
  /** Features and value columns, a normaliser's included. */
  ...fields('i32', 'd', 'e'),
  ...fields('bool', 'causal', 'reverse'),
  /** How the keys are cut. */
  ...fields('i32', 'segments', 'segmentChunks'),
  /** How the queries are cut: into the segments if causal. */
  ...fields('i32', 'tiles', 'tileChunks'),
  /** How the value columns are cut, for outputs and for states, and slices of a task. */
  ...fields('i32', 'parts', 'partSlices', 'stateParts', 'statePartSlices'),
  /** float64 [h]. */
  decays: 'usize',
  /** [b][h][segments][slices of e][features, whole panels][8]. */
  states: 'usize',
  out: Contiguous,
  outColumns: 'i32',
  /** From a head's row to the next one's, of which a block of columns may be all that is written. */
  outWidth: 'i32',
  /** f32 [b, n, h, outColumns], perhaps `out` itself: what other features gave, to be added; 0 for none. */
  before: 'usize',
  /** Whether other features are still to come, so that nothing is divided yet. */
  unfinished: 'bool',
  /** f32 [b, n, h]; 0 for no normaliser. */
  denominators: 'usize',
  epsilon: 'f64',
  /** f32 [b, h, ...]: one more column of the initial state, or row if `sumsAcross`; 0 for none. */
  ...fields('usize', 'initialSums', 'finalSums'),
  sumsAcross: 'bool',
  /** From a head's sums to the next one's. */
  sumsWidth: 'i32',
  /** Extents of the states in memory, without a normaliser's. */
  ...fields('i32', 'stateFeatures', 'stateColumns'),
  ...fields(Rows, 'q', 'k', 'v'),
  /** [batch, feature, head, column], f32; address 0 for none. */
  ...fields(Operand, 'initial', 'final'),
});

export const StepParams = struct({
  ...fields('i32', 'h', 'd', 'e'),
  /** float64 [h]. */
  decays: 'usize',
  /** f32 [b, h, d, e]; where the state lies and where it is to lie: perhaps the same. */
  ...fields('tensor', 'state', 'nextState'),
  /** f32 [b, h, d], the sums of keys; 0 for no normaliser. */
  ...fields('tensor', 'sums', 'nextSums'),
  out: Contiguous,
  epsilon: 'f64',
  /** f32 [b, h]: becomes the denominators. */
  denominators: 'tensor',
  ...fields(Rows, 'q', 'k', 'v'),
});

/**
 * For results over denominators: the gradients with respect to the sums above and, as one more column, to the denominator.
 */
export const QuotientParams = struct({
  ...fields('i32', 'n', 'h', 'e', 'rows'),
  /** f32 [b, n, h]. */
  denominators: 'tensor',
  /** f32 [b, n, h, e + 1]. */
  to: 'usize',
  ...fields(Operand, 'out', 'gradOut'),
});

export const HeadSumsParams = struct({
  ...fields('i32', 'rows', 'h', 'g', 'columns'),
  /** f32 [rows, h, columns]. */
  from: 'usize',
  /** [rows, g, columns]. */
  to: Contiguous,
});
