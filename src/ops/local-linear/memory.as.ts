/** What a task of local linear attention keeps in its working memory, and what it knows of its tile. */
import { LAYOUT_BYTES } from '../../runtime/wasm/assembly/layout.as';
import { LARGEST_HEAD, PANEL, SLICE, TILE } from '../../runtime/cpu/params.generated.as';
import { BLOCK_PANELS, Problem } from './params.generated.as';

/** Bytes from one key's numbers to the next, and from a panel's. */
export const ROW: usize = <usize>TILE * 4;
export const PANEL_ROWS: usize = <usize>PANEL * ROW;
/** Bytes of six columns of a row. */
export const PANEL_ROW: usize = <usize>PANEL * 4;
export const LOG2E: f64 = 1.4426950408889634;
export const LN2: f64 = 0.6931471805599453;
/** Squared norms up to which sums and products of what follows from keys and queries stay finite, and likewise values. */
export const ORDINARY_NORM: f32 = 1e12;
export const ORDINARY_VALUE: f32 = 1e28;
export const ORDINARY_SCORE: f64 = 1e28;
export const NO_MAXIMUM: f32 = -1e30;
/** Rounding a solution so much larger than the keys are small would leave no digit of the weights right. */
export const LARGEST_ERROR: f32 = 0.0625;

/** The largest head's columns, and as many as the last transposed columns read beyond. */
const VECTOR_BYTES: usize = <usize>(TILE * (LARGEST_HEAD + PANEL) * 4);

/** Keys that tell what all have in common. */
export const SAMPLES: i32 = 16;

// One worker's working memory; vectors of rows,
export const QUERIES: usize = 0;
export const MEANS: usize = QUERIES + VECTOR_BYTES; // weighted, of the keys
export const RIGHT: usize = MEANS + VECTOR_BYTES; // the right-hand sides of the systems, then what is left of them
export const SOLUTION: usize = RIGHT + VECTOR_BYTES;
export const DIRECTION: usize = SOLUTION + VECTOR_BYTES;
export const IMAGE: usize = DIRECTION + VECTOR_BYTES; // of the direction under the matrix; also scaled queries
export const RESULT: usize = IMAGE + VECTOR_BYTES;
export const FIRST: usize = RESULT + VECTOR_BYTES; // the solution of the forward pass, and a gradient, backward
// numbers of a block of pairs, twice as many where keys' gradients have four of each,
export const BLOCK: usize = FIRST + VECTOR_BYTES;
export const LAYOUT: usize = BLOCK + 2 * <usize>BLOCK_PANELS * PANEL_ROWS;
const LAYOUT_END: usize = (LAYOUT + LAYOUT_BYTES + 63) & ~63;
// a number of each row,
export const MAXIMA: usize = LAYOUT_END;
export const INVERSES: usize = MAXIMA + ROW; // of the sums of e^(score - largest): the largest weights
export const SHIFTS: usize = INVERSES + ROW;
export const RIDGES: usize = SHIFTS + ROW;
export const NORMS: usize = RIDGES + ROW; // squared, of what is left of the right-hand side
export const TARGETS: usize = NORMS + ROW; // below which it is solved
export const ACTIVE: usize = TARGETS + ROW; // all ones where it is not
export const ITERATIONS: usize = ACTIVE + ROW;
export const RESIDUALS: usize = ITERATIONS + ROW;
export const AUX: usize = RESIDUALS + ROW;
export const AUX2: usize = AUX + ROW;
export const TOTALS: usize = AUX2 + ROW; // of the numbers of pairs that were added
export const SCALES: usize = TOTALS + ROW; // of the right-hand sides
export const SHRINKS: usize = SCALES + ROW; // of the systems
// six words that say who sees a panel's keys, what is known of the tile, what keys have in common, and rows to be stored.
export const SEEN: usize = SHRINKS + ROW;
export const STATE: usize = SEEN + 32;
export const COMMON: usize = STATE + 64;
export const OPERAND: usize = COMMON + <usize>(LARGEST_HEAD * 4);
export const ROWS_OUT: usize = OPERAND + 64;
export const ROW_OUT: usize = <usize>(LARGEST_HEAD + PANEL) * 4;
export const TILE_BYTES: usize = (ROWS_OUT + 4 * ROW_OUT + 63) & ~63;

/** The tile being computed. */
@unmanaged
export class Tile {
  batch: i32;
  head: i32;
  /** Its key/value head among those of all batches. */
  group: i32;
  first: i32;
  rows: i32;
  /** Rows of the tensor that has them, and its heads. */
  length: i32;
  heads: i32;
  /** Panels that some row sees, and from the first on, all do. */
  panels: i32;
  fullPanels: i32;
  /** Addresses: weights [keys][24], other numbers of pairs behind them, and a matrix for a direct solver. */
  weights: usize;
  matrix: usize;
  /** Slices of eight rows that have work left, a bit each. */
  live: i32;
}

@inline
export function columnPanels(columns: i32): i32 {
  return (columns + PANEL - 1) / PANEL;
}

@inline
export function panelsOf(rows: i32): i32 {
  return (rows + PANEL - 1) / PANEL;
}

/** Bytes from one slice of eight rows of a vector to the next. */
@inline
export function sliceBytes(columns: i32): usize {
  return <usize>(columnPanels(columns) * PANEL) << 5;
}

@inline
export function vectorBytes(columns: i32): usize {
  return <usize>(TILE / SLICE) * sliceBytes(columns);
}

/** A place for a tile's weights that no other tile has. */
export function take(p: Problem): i32 {
  const locks = p.locks;
  const slots = p.slots;
  let slot: i32 = 0;
  while (atomic.cmpxchg<i32>(locks + (<usize>slot << 2), 0, 1) != 0) slot = (slot + 1) % slots;
  return slot;
}

export function release(p: Problem, slot: i32): void {
  atomic.store<i32>(p.locks + (<usize>slot << 2), 0);
}
