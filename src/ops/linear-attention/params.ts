import { Contiguous, Operand } from '../../runtime/wasm/params';
import { struct } from '../../runtime/wasm/struct';

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
  ...{ columns: 'i32', ones: 'bool' },
  /** A number that divides the problem's heads. */
  heads: 'i32',
});

export const PassParams = struct({
  h: 'i32',
  /** Heads of all batches, and how many one task takes. */
  ...{ heads: 'i32', group: 'i32' },
  /** Queries and keys. */
  ...{ n: 'i32', m: 'i32' },
  /** Features and value columns, a normaliser's included. */
  ...{ d: 'i32', e: 'i32' },
  ...{ causal: 'bool', reverse: 'bool' },
  /** How the keys are cut. */
  ...{ segments: 'i32', segmentChunks: 'i32' },
  /** How the queries are cut: into the segments if causal. */
  ...{ tiles: 'i32', tileChunks: 'i32' },
  /** How the value columns are cut, for outputs and for states, and slices of a task. */
  ...{ parts: 'i32', partSlices: 'i32', stateParts: 'i32', statePartSlices: 'i32' },
  /** float64 [h]. */
  decays: 'usize',
  /** [b][h][segments][slices of e][features, whole panels][8]. */
  states: 'usize',
  ...{ out: Contiguous, outColumns: 'i32' },
  /** From a head's row to the next one's, of which a block of columns may be all that is written. */
  outWidth: 'i32',
  /** f32 [b, n, h, outColumns], perhaps `out` itself: what other features gave, to be added; 0 for none. */
  before: 'usize',
  /** Whether other features are still to come, so that nothing is divided yet. */
  unfinished: 'bool',
  /** f32 [b, n, h]; 0 for no normaliser. */
  ...{ denominators: 'usize', epsilon: 'f64' },
  /** f32 [b, h, ...]: one more column of the initial state, or row if `sumsAcross`; 0 for none. */
  ...{ initialSums: 'usize', finalSums: 'usize', sumsAcross: 'bool' },
  /** From a head's sums to the next one's. */
  sumsWidth: 'i32',
  /** Extents of the states in memory, without a normaliser's. */
  ...{ stateFeatures: 'i32', stateColumns: 'i32' },
  ...{ q: Rows, k: Rows, v: Rows },
  /** [batch, feature, head, column], f32; address 0 for none. */
  ...{ initial: Operand, final: Operand },
});

export const StepParams = struct({
  ...{ h: 'i32', d: 'i32', e: 'i32' },
  /** float64 [h]. */
  decays: 'usize',
  /** f32 [b, h, d, e]; where the state lies and where it is to lie: perhaps the same. */
  ...{ state: 'tensor', nextState: 'tensor' },
  /** f32 [b, h, d], the sums of keys; 0 for no normaliser. */
  ...{ sums: 'tensor', nextSums: 'tensor' },
  ...{ out: Contiguous, epsilon: 'f64' },
  /** f32 [b, h]: becomes the denominators. */
  denominators: 'tensor',
  ...{ q: Rows, k: Rows, v: Rows },
});

/**
 * For results over denominators: the gradients with respect to the sums above and, as one more column, to the denominator.
 */
export const QuotientParams = struct({
  ...{ n: 'i32', h: 'i32', e: 'i32', rows: 'i32' },
  /** f32 [b, n, h]. */
  denominators: 'tensor',
  /** f32 [b, n, h, e + 1]. */
  to: 'usize',
  ...{ out: Operand, gradOut: Operand },
});

export const HeadSumsParams = struct({
  ...{ rows: 'i32', h: 'i32', g: 'i32', columns: 'i32' },
  /** f32 [rows, h, columns]. */
  from: 'usize',
  /** [rows, g, columns]. */
  to: Contiguous,
});
