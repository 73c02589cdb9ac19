/**
 * A tile of 24 rows of one head: its weights, what it sums over keys, and its systems.
 *
 * Numbers of pairs lie [keys][24 rows], vectors of rows [3 slices][columns, in panels][8 rows], so that all that is done row by
 * row is vertical, and each product takes what the one before gave: a vector of rows times panels of keys gives numbers of
 * pairs, and keys, six columns at a time, times these give a vector of rows.
 */
import { log } from '../../runtime/wasm/assembly/scalar.as';
import { LAYOUT_BYTES, layOutPanels, layOutSlices, layOutTile, PANEL_SLICE_BYTES, rowAddress, rowBytes } from '../../runtime/wasm/assembly/layout.as';
import { ADD, product, seenProduct, STORE, STORE_MAX, TIMES_LESS } from '../../runtime/wasm/assembly/product.as';
import { bytesOf, loadElement, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { exp2Clamped, largestLane, madd, storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { CHUNK_PANELS, F32, LARGEST_HEAD, Operand, PANEL, SLICE, TILE } from '../../runtime/wasm/params.generated.as';
import { BLOCK_PANELS, Problem } from './params.generated.as';

/** Bytes from one key's numbers to the next, and from a panel's. */
export const ROW: usize = <usize>TILE * 4;
export const PANEL_ROWS: usize = <usize>PANEL * ROW;
/** Bytes of six columns of a row. */
export const PANEL_ROW: usize = <usize>PANEL * 4;
export const LOG2E: f64 = 1.4426950408889634;
const LN2: f64 = 0.6931471805599453;
/** Squared norms up to which sums and products of what follows from keys and queries stay finite, and likewise values. */
const ORDINARY_NORM: f32 = 1e12;
const ORDINARY_VALUE: f32 = 1e28;
const ORDINARY_SCORE: f64 = 1e28;
const NO_MAXIMUM: f32 = -1e30;
/** Rounding a solution so much larger than the keys are small would leave no digit of the weights right. */
export const LARGEST_ERROR: f32 = 0.0625;

/** Of the largest head, and as much as the last transposed columns read beyond. */
const VECTOR_BYTES: usize = <usize>(TILE * (LARGEST_HEAD + PANEL) * 4);

/** Keys that tell what all have in common. */
const SAMPLES: i32 = 16;

// One worker's working memory; vectors of rows,
export const QUERIES: usize = 0;
export const MEANS: usize = QUERIES + VECTOR_BYTES; // weighted, of the keys
export const RIGHT: usize = MEANS + VECTOR_BYTES; // the right-hand sides of the systems, then what is left of them
export const SOLUTION: usize = RIGHT + VECTOR_BYTES;
export const DIRECTION: usize = SOLUTION + VECTOR_BYTES;
export const IMAGE: usize = DIRECTION + VECTOR_BYTES; // of the direction under the matrix; also scaled queries
export const RESULT: usize = IMAGE + VECTOR_BYTES;
export const FIRST: usize = RESULT + VECTOR_BYTES; // the solution of the forward pass, and a gradient, backward
const CHUNK_ROWS: usize = QUERIES; // while keys are packed, in place of all these
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
const TOTALS: usize = AUX2 + ROW; // of the numbers of pairs that were added
export const SCALES: usize = TOTALS + ROW; // of the right-hand sides
export const SHRINKS: usize = SCALES + ROW; // of the systems
// six words that say who sees a panel's keys, what is known of the tile, what keys have in common, and rows to be stored.
const SEEN: usize = SHRINKS + ROW;
export const STATE: usize = SEEN + 32;
export const COMMON: usize = STATE + 64;
const OPERAND: usize = COMMON + <usize>(LARGEST_HEAD * 4);
const ROWS_OUT: usize = OPERAND + 64;
const ROW_OUT: usize = <usize>(LARGEST_HEAD + PANEL) * 4;
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

/**
 * Keys, less what they have in common, and values of one chunk of one key/value head in the layouts that are wanted, and the
 * extremes of the chunk.
 */
export function packKeysValues(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const m = p.m;
  const panels = panelsOf(m);
  const chunks = (panels + CHUNK_PANELS - 1) / CHUNK_PANELS;
  const group = task / chunks;
  const batch = group / p.g;
  const head = group % p.g;
  const first = (task % chunks) * CHUNK_PANELS;
  const past = min(first + CHUNK_PANELS, panels);
  const v = p.v;
  const d = p.d;
  const e = p.e;
  const layout = scratch + LAYOUT;
  const count = past - first;
  const row = <usize>(first * PANEL);
  const rows = min(m, past * PANEL) - first * PANEL;
  const k = distances(p, batch, head, first * PANEL, rows, scratch);
  const norm = layOutPanels(k, 0, 0, 0, rows, d, 0, count, panelsAt(p.keyPanels, group, panels, d) + row * (<usize>d << 2), layout);
  layOutColumnPanels(k, 0, 0, rows, d, 0, count, columnPanelsAt(p.keyColumnPanels, group, panels, d) + row * PANEL_ROW, panels, scratch);
  let value: f32 = 0;
  if (p.valueColumnPanels) value = layOutColumnPanels(v, batch, head, m, e, first, past, columnPanelsAt(p.valueColumnPanels, group, panels, e), panels, scratch);
  if (p.valuePanels) layOutPanels(v, batch, head, 0, m, e, first, past, panelsAt(p.valuePanels, group, panels, e), layout);
  if (p.keySlices) {
    const bytes = <usize>panels * PANEL_SLICE_BYTES;
    const to = p.keySlices + <usize>(group * ((d + SLICE - 1) / SLICE)) * bytes + (row << 5);
    layOutSlices(k, 0, 0, 0, rows, d, 0, count, to, bytes, PANEL_SLICE_BYTES, layout);
  }
  f32.store(p.extremes + (<usize>task << 3), norm);
  f32.store(p.extremes + (<usize>task << 3), value, 4);
}

/** Some rows of keys less what they have in common, as an operand of one head: a copy only if that is anything. */
function distances(p: Problem, batch: i32, head: i32, first: i32, rows: i32, scratch: usize): Operand {
  const k = p.k;
  const common = scratch + COMMON;
  const row0 = rowAddress(k, batch, first, head);
  if (!findCommon(p, batch, head, common, scratch)) return operandAt(row0, k.dtype, k.row, k.element, scratch);
  const d = p.d;
  const bytes = <usize>d << 2;
  const step = rowBytes(k);
  const stride = k.element;
  const dtype = k.dtype;
  let to = scratch + CHUNK_ROWS;
  for (let row: i32 = 0; row < rows; row++, to += bytes) {
    const at = loadRow(row0 + <usize>row * step, stride, dtype, d, to);
    for (let c: usize = 0; c < bytes; c += 4) f32.store(to + c, f32.load(at + c) - f32.load(common + c));
  }
  return operandAt(scratch + CHUNK_ROWS, F32, d, 1, scratch);
}

function operandAt(address: usize, dtype: i32, row: usize, element: usize, scratch: usize): Operand {
  const operand = scratch + OPERAND;
  memory.fill(operand, 0, Operand.BYTES);
  f64.store(operand, <f64>address);
  f64.store(operand, <f64>dtype, 8);
  f64.store(operand, <f64>row, 24);
  f64.store(operand, <f64>element, 40);
  return changetype<Operand>(operand);
}

/**
 * What the keys of a head have in common: of some of them, by columns, the number nearest to 0 if all have one sign, else 0.
 * Means, distances from these and, but for a constant of each row, scores are those of keys less any vector; without what is
 * common their rounding follows the keys' spread. Keys that spread about 0 stay as they are. Returns whether there is anything.
 */
export function findCommon(p: Problem, batch: i32, head: i32, to: usize, scratch: usize): bool {
  const k = p.k;
  const d = p.d;
  const bytes = <usize>d << 2;
  const least = scratch + ROWS_OUT;
  const most = least + ROW_OUT;
  for (let x: i32 = 0; x < SAMPLES; x++) {
    const row = rowAddress(k, batch, <i32>((<i64>x * <i64>(p.m - 1)) / (SAMPLES - 1)), head);
    const at = loadRow(row, k.element, k.dtype, d, to);
    if (x == 0) {
      memory.copy(least, at, bytes);
      memory.copy(most, at, bytes);
    }
    let c: usize = 0;
    for (; c + 16 <= bytes; c += 16) {
      v128.store(least + c, f32x4.min(v128.load(at + c), v128.load(least + c)));
      v128.store(most + c, f32x4.max(v128.load(at + c), v128.load(most + c)));
    }
    for (; c < bytes; c += 4) {
      f32.store(least + c, min(f32.load(at + c), f32.load(least + c)));
      f32.store(most + c, max(f32.load(at + c), f32.load(most + c)));
    }
  }
  let isAny = false;
  for (let c: usize = 0; c < bytes; c += 4) {
    const common = max<f32>(0, f32.load(least + c)) + min<f32>(0, f32.load(most + c));
    f32.store(to + c, common);
    if (common != 0) isAny = true;
  }
  return isAny;
}

/** Where the panels of a head begin. */
@inline
export function panelsAt(base: usize, head: i32, panels: i32, columns: i32): usize {
  return base + <usize>(head * panels) * <usize>(columns * PANEL * 4);
}

/** Where the column panels of a head begin. */
@inline
export function columnPanelsAt(base: usize, head: i32, panels: i32, columns: i32): usize {
  return base + <usize>(head * panels) * (<usize>(columnPanels(columns) * PANEL) * PANEL_ROW);
}

/**
 * The rows of one head in the panels `first` to `past` as [column panels][rows][6] at `to`, padded with zeros. Returns
 * the largest magnitude, NaN if there is one.
 */
export function layOutColumnPanels(
  x: Operand,
  batch: i32,
  head: i32,
  rows: i32,
  columns: i32,
  first: i32,
  past: i32,
  to: usize,
  panels: i32,
  scratch: usize,
): f32 {
  const panelBytes = <usize>(panels * PANEL) * PANEL_ROW;
  const row0 = rowAddress(x, batch, 0, head);
  const step = rowBytes(x);
  const stride = x.element;
  const dtype = x.dtype;
  const buffer = scratch + ROWS_OUT;
  let largest = f32x4.splat(0);
  memory.fill(buffer, 0, ROW_OUT);
  for (let row = first * PANEL; row < past * PANEL; row++) {
    if (row < rows) {
      const at = loadRow(row0 + <usize>row * step, stride, dtype, columns, buffer);
      if (at != buffer) memory.copy(buffer, at, <usize>columns << 2);
    } else memory.fill(buffer, 0, <usize>columns << 2);
    let group = to + <usize>row * PANEL_ROW;
    for (let c: usize = 0; c < <usize>columns << 2; c += PANEL_ROW, group += panelBytes) {
      const left = v128.load(buffer + c);
      const right = v128.load64_zero(buffer + c, 16);
      v128.store(group, left);
      v128.store64_lane(group, right, 0, 16);
      largest = f32x4.max(largest, f32x4.max(f32x4.abs(left), f32x4.abs(right)));
    }
  }
  return largestLane(largest);
}

/**
 * Tile `index` of a head `place` among those of all batches: queries, ridges and the part of the keys that it sees. Returns
 * whether float32 does for it.
 */
export function openTile(p: Problem, place: i32, index: i32, slot: i32, scratch: usize): bool {
  const t = changetype<Tile>(scratch + STATE);
  const n = p.n;
  const m = p.m;
  const h = p.h;
  const d = p.d;
  const causal = p.causal;
  t.batch = place / h;
  t.head = place % h;
  t.group = t.batch * p.g + t.head / (h / p.g);
  t.first = index * TILE;
  t.rows = min(TILE, n - t.first);
  t.length = n;
  t.heads = h;
  const firstSees = causal ? max(0, min(m, t.first + m - n + 1)) : m;
  const lastSees = causal ? max(0, min(m, t.first + t.rows + m - n)) : m;
  t.panels = panelsOf(lastSees);
  t.fullPanels = firstSees / PANEL;
  t.weights = p.work + <usize>slot * p.slotBytes;
  t.matrix = t.weights + p.slotBytes - (p.direct ? matrixBytes(d) : 0);
  t.live = (1 << ((t.rows + SLICE - 1) / SLICE)) - 1;

  const norm = loadVector(p.q, d, 1, scratch + QUERIES, scratch);
  findCommon(p, t.batch, t.group % p.g, scratch + COMMON, scratch);
  const ridges = p.ridgeRows;
  const address = ridges.address;
  const ridge = <f32>p.ridge;
  for (let r: i32 = 0; r < TILE; r++) {
    let own = ridge;
    if (address && r < t.rows) own = loadElement(rowAddress(ridges, t.batch, t.first + r, t.head), ridges.dtype);
    f32.store(scratch + RIDGES + (r << 2), own);
  }
  const norms = largestOf(p, t.group, 0);
  const score = abs(p.scale) * LOG2E * sqrt(<f64>norm * <f64>norms);
  return norm <= ORDINARY_NORM && norms <= ORDINARY_NORM && score <= ORDINARY_SCORE && largestOf(p, t.group, 4) <= ORDINARY_VALUE;
}

export function matrixBytes(d: i32): usize {
  return sliceBytes(d) * <usize>((d + SLICE - 1) / SLICE);
}

/** Of a key/value head's chunks: squared norms of keys at 0, magnitudes of values at 4; NaN if there is one. */
export function largestOf(p: Problem, group: i32, offset: usize): f32 {
  const chunks = (panelsOf(p.m) + CHUNK_PANELS - 1) / CHUNK_PANELS;
  let largest: f32 = 0;
  for (let at: i32 = 0; at < chunks; at++) {
    largest = max(largest, f32.load(p.extremes + offset + (<usize>(group * chunks + at) << 3)));
  }
  return largest;
}

/** The rows of a tile of x [b, n, h, columns], times `factor`, as a vector; returns their largest squared norm. */
export function loadVector(x: Operand, columns: i32, factor: f32, to: usize, scratch: usize): f32 {
  const t = changetype<Tile>(scratch + STATE);
  const rows = t.first + t.rows;
  let largest: f32 = 0;
  for (let s: i32 = 0; s < TILE / SLICE; s++, to += sliceBytes(columns)) {
    memory.fill(to, 0, sliceBytes(columns));
    const first = t.first + s * SLICE;
    largest = max(largest, layOutTile(x, t.batch, t.head, 0, rows, columns, first, SLICE, factor, to, scratch + LAYOUT));
  }
  return largest;
}

/** A vector as rows of a contiguous tensor [b, n, h, columns], times a factor for each row. */
export function storeVector(from: usize, columns: i32, factors: usize, out: usize, dtype: i32, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const bytes = <usize>columns * bytesOf(dtype);
  const rows = scratch + ROWS_OUT;
  for (let r: i32 = 0; r < t.rows; r += 4) {
    const factor = v128.load(factors + (r << 2));
    let at = from + <usize>(r / SLICE) * sliceBytes(columns) + (<usize>(r & 4) << 2);
    for (let c: i32 = 0; c < columns; c += 4, at += 128) {
      storeTransposed(
        f32x4.mul(factor, v128.load(at)),
        f32x4.mul(factor, v128.load(at, 32)),
        f32x4.mul(factor, v128.load(at, 64)),
        f32x4.mul(factor, v128.load(at, 96)),
        rows + (<usize>c << 2),
        ROW_OUT,
      );
    }
    for (let x: i32 = 0; x < min(4, t.rows - r); x++) {
      storeRow(rows + <usize>x * ROW_OUT, out + rowIndex(t, r + x) * bytes, dtype, columns);
    }
  }
}

/** A number of each row to a tensor [b, n, h]. */
export function storeNumbers(from: usize, out: usize, dtype: i32, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  for (let r: i32 = 0; r < t.rows; r++) storeRow(from + (r << 2), out + rowIndex(t, r) * bytesOf(dtype), dtype, 1);
}

/** Where a row of a tile is in [b, n, h]. */
@inline
export function rowIndex(t: Tile, r: i32): usize {
  return (<usize>t.batch * <usize>t.length + <usize>(t.first + r)) * <usize>t.heads + <usize>t.head;
}

/** Which rows see the keys of a panel, as six words at SEEN; 0 where all of them do. */
function whoSees(p: Problem, t: Tile, panel: i32, scratch: usize): usize {
  if (panel < t.fullPanels) return 0;
  const m = p.m;
  const before = p.causal ? t.first + m - p.n : m;
  for (let x: i32 = 0; x < PANEL; x++) {
    const key = panel * PANEL + x;
    const skipped = max(0, key - before);
    i32.store(scratch + SEEN + (x << 2), key < m && skipped < TILE ? -1 << skipped : 0);
  }
  return scratch + SEEN;
}

/**
 * Weights of all keys that sum to 1, 0 for those not seen; at MAXIMA the largest scores, in powers of two, and at INVERSES the
 * largest weights, 0 for rows that see no key.
 */
export function weigh(p: Problem, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const d = p.d;
  const slices = (t.rows + SLICE - 1) / SLICE;
  const step = sliceBytes(d);
  scaleQueries(p, scratch);
  const panels = panelsAt(p.keyPanels, t.group, panelsOf(p.m), d);
  for (let at: usize = 0; at < ROW; at += 16) v128.store(scratch + MAXIMA + at, f32x4.splat(NO_MAXIMUM));
  let row = t.weights;
  for (let panel: i32 = 0; panel < t.panels; panel++, row += PANEL_ROWS) {
    const seen = whoSees(p, t, panel, scratch);
    const keys = panels + <usize>panel * <usize>(d * PANEL * 4);
    for (let s: i32 = 0; s < slices; s++) {
      const lane = <usize>s << 5;
      scoreProduct(keys, scratch + IMAGE + <usize>s * step, d, row + lane, scratch + MAXIMA + lane, seen, s * SLICE);
    }
  }
  for (let lane: usize = 0; lane < <usize>slices << 5; lane += 16) {
    const most = v128.load(scratch + MAXIMA + lane);
    const end = t.weights + <usize>t.panels * PANEL_ROWS;
    let sum = f32x4.splat(0);
    for (let at = t.weights + lane; at < end; at += ROW) {
      const weight = exp2Clamped(f32x4.sub(v128.load(at), most));
      v128.store(at, weight);
      sum = f32x4.add(sum, weight);
    }
    const inverse = v128.and(f32x4.div(f32x4.splat(1), sum), f32x4.gt(sum, f32x4.splat(0)));
    for (let at = t.weights + lane; at < end; at += ROW) v128.store(at, f32x4.mul(inverse, v128.load(at)));
    v128.store(scratch + INVERSES + lane, inverse);
  }
}

/** Log-sum-exps of the scores, to `to`. */
export function logSumExps(p: Problem, to: usize, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  for (let r: i32 = 0; r < t.rows; r++) {
    const row = scratch + (<usize>r << 2);
    const query = scratch + QUERIES + <usize>(r / SLICE) * sliceBytes(p.d) + (<usize>(r % SLICE) << 2);
    let common: f64 = 0;
    for (let c: usize = 0; c < <usize>p.d << 2; c += 4) common += <f64>f32.load(query + (c << 3)) * <f64>f32.load(scratch + COMMON + c);
    const inverse = f32.load(row, INVERSES);
    const lse = p.scale * common + <f64>f32.load(row, MAXIMA) * LN2 - log(<f64>inverse);
    f32.store(to + (<usize>r << 2), inverse > 0 ? <f32>lse : -Infinity);
  }
}

/** Queries times what makes their scores powers of two, at IMAGE. */
function scaleQueries(p: Problem, scratch: usize): void {
  const factor = f32x4.splat(<f32>(p.scale * LOG2E));
  const bytes = vectorBytes(p.d);
  for (let at: usize = 0; at < bytes; at += 16) {
    v128.store(scratch + IMAGE + at, f32x4.mul(factor, v128.load(scratch + QUERIES + at)));
  }
}

// The micro-kernel as functions: its code is long, and a call costs little beside it.

function scoreProduct(keys: usize, queries: usize, d: i32, scores: usize, most: usize, seen: usize, bit: i32): void {
  seenProduct(keys, queries, d, scores, STORE_MAX, most, seen, bit);
}

export function storeProduct(keys: usize, rows: usize, columns: i32, pairs: usize): void {
  product(keys, 24, false, rows, columns, pairs, ROW, STORE, 0);
}

export function weighedProduct(keys: usize, rows: usize, d: i32, pairs: usize, shifts: usize, weights: usize): void {
  product(keys, 24, false, rows, d, pairs, ROW, TIMES_LESS, shifts, 32, 0, 0, 0, 0, 0, weights);
}

function addColumnPanel(columnPanels: usize, pairs: usize, count: i32, to: usize): void {
  product(columnPanels, PANEL_ROW, false, pairs, count, to, 32, ADD, 0, ROW);
}

/** Whether the slice of a lane's four rows has work left. */
@inline
export function isLive(t: Tile, lane: usize): bool {
  return ((t.live >> <i32>(lane >> 5)) & 1) != 0;
}

/** A vector += numbers of pairs times rows [column panels][rows][6], over `count` of these, for the live slices. */
export function addRows(pairs: usize, from: usize, panelBytes: usize, count: i32, columns: i32, to: usize, live: i32): void {
  const groups = columnPanels(columns);
  for (let s: i32 = 0; s < TILE / SLICE; s++, to += sliceBytes(columns)) {
    if (!((live >> s) & 1)) continue;
    for (let x: i32 = 0; x < groups; x++) {
      addColumnPanel(from + <usize>x * panelBytes, pairs + (<usize>s << 5), count, to + <usize>x * (<usize>PANEL << 5));
    }
  }
}

// Sums over keys of numbers that add up to 0, rounded, would keep a share of the keys' mean. They are ended without it.

/** A vector of such sums begins. */
export function beginSums(to: usize, d: i32, scratch: usize): void {
  memory.fill(to, 0, vectorBytes(d));
  memory.fill(scratch + TOTALS, 0, ROW);
}

/** The sums += numbers of a block of pairs, at BLOCK, times their keys, `count` of them from key `from` on. */
export function addKeys(p: Problem, from: usize, count: i32, to: usize, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const all = panelsOf(p.m);
  const keys = columnPanelsAt(p.keyColumnPanels, t.group, all, p.d);
  addRows(scratch + BLOCK, keys + from * PANEL_ROW, <usize>(all * PANEL) * PANEL_ROW, count, p.d, to, t.live);
  const bytes = <usize>count * ROW;
  for (let slice: usize = 0; slice < ROW; slice += 32) {
    if (!isLive(t, slice)) continue;
    // Two keys at a time, so that no addition waits for the one before.
    let left = v128.load(scratch + TOTALS + slice);
    let right = v128.load(scratch + TOTALS + slice, 16);
    let nextLeft = f32x4.splat(0);
    let nextRight = nextLeft;
    for (let at = scratch + BLOCK + slice, end = at + bytes; at < end; at += 2 * ROW) {
      left = f32x4.add(left, v128.load(at));
      right = f32x4.add(right, v128.load(at, 16));
      nextLeft = f32x4.add(nextLeft, v128.load(at + ROW));
      nextRight = f32x4.add(nextRight, v128.load(at + ROW, 16));
    }
    v128.store(scratch + TOTALS + slice, f32x4.add(left, nextLeft));
    v128.store(scratch + TOTALS + slice, f32x4.add(right, nextRight), 16);
  }
}

/** Less the means times what the numbers of pairs add up to: the sums with keys from their means. */
export function endSums(to: usize, d: i32, scratch: usize): void {
  const step = sliceBytes(d);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const total = f32x4.neg(v128.load(scratch + TOTALS + lane));
    const slice = (lane >> 5) * step + (lane & 16);
    for (let at = slice, end = slice + step; at < end; at += 32) {
      v128.store(to + at, madd(total, v128.load(scratch + MEANS + at), v128.load(to + at)));
    }
  }
}

/** The weighted sums of keys, a vector at `to`. */
export function sumKeys(p: Problem, to: usize, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const all = panelsOf(p.m);
  const keys = columnPanelsAt(p.keyColumnPanels, t.group, all, p.d);
  memory.fill(to, 0, vectorBytes(p.d));
  for (let first: i32 = 0; first < t.panels; first += BLOCK_PANELS) {
    const count = min(BLOCK_PANELS, t.panels - first) * PANEL;
    const from = <usize>(first * PANEL);
    addRows(t.weights + from * ROW, keys + from * PANEL_ROW, <usize>(all * PANEL) * PANEL_ROW, count, p.d, to, t.live);
  }
}

/** Numbers of all pairs from a vector of rows, and panels of keys or values. */
export function timesRows(t: Tile, panels: usize, columns: i32, vector: usize, to: usize): void {
  const step = sliceBytes(columns);
  for (let panel: i32 = 0; panel < t.panels; panel++, panels += <usize>(columns * PANEL * 4), to += PANEL_ROWS) {
    for (let s: i32 = 0; s < TILE / SLICE; s++) {
      if ((t.live >> s) & 1) storeProduct(panels, vector + <usize>s * step, columns, to + (<usize>s << 5));
    }
  }
}

/** Means of the numbers of each row's pairs under its weights. */
export function meanNumbers(t: Tile, numbers: usize, to: usize): void {
  const bytes = <usize>t.panels * PANEL_ROWS;
  for (let slice: usize = 0; slice < ROW; slice += 32) {
    let left = f32x4.splat(0);
    let right = left;
    let nextLeft = left;
    let nextRight = left;
    let weight = t.weights + slice;
    if (isLive(t, slice)) {
      for (let at = numbers + slice, end = at + bytes; at < end; at += 2 * ROW, weight += 2 * ROW) {
        left = madd(v128.load(weight), v128.load(at), left);
        right = madd(v128.load(weight, 16), v128.load(at, 16), right);
        nextLeft = madd(v128.load(weight + ROW), v128.load(at + ROW), nextLeft);
        nextRight = madd(v128.load(weight + ROW, 16), v128.load(at + ROW, 16), nextRight);
      }
    }
    v128.store(to + slice, f32x4.add(left, nextLeft));
    v128.store(to + slice, f32x4.add(right, nextRight), 16);
  }
}

/** Of each row the product of two vectors of d columns, to `to`. */
export function dots(a: usize, b: usize, d: i32, to: usize): void {
  const step = sliceBytes(d);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const slice = (lane >> 5) * step + (lane & 16);
    let sum = f32x4.splat(0);
    for (let at = slice, end = slice + (<usize>d << 5); at < end; at += 32) sum = madd(v128.load(a + at), v128.load(b + at), sum);
    v128.store(to + lane, sum);
  }
}

/** Means - queries, the right-hand side of the forward pass's systems, from these. */
export function meansLessQueries(p: Problem, scratch: usize): void {
  const step = sliceBytes(p.d);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const slice = scratch + (lane >> 5) * step + (lane & 16);
    let common = scratch + COMMON;
    for (let at = slice, end = slice + (<usize>p.d << 5); at < end; at += 32, common += 4) {
      const query = f32x4.sub(v128.load(at, QUERIES), v128.load32_splat(common));
      v128.store(at, f32x4.sub(v128.load(at, MEANS), query), RIGHT);
    }
  }
}
