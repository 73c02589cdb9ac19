/**
 * One chunk of up to 48 tokens of the gated delta rule: its decays, and the matrices that tie its tokens together.
 *
 * With G_i the sum of the chunk's log decays up to token i, a chunk needs L_ij = e^(G_i - G_j) k_i k_j for j < i and
 * P_ij = scale e^(G_i - G_j) q_i k_j for j <= i. Only differences G_i - G_j with j <= i enter an exponential, so it is
 * never above 1. Tokens past the end have zero keys, queries and values, no decay and beta = 0.
 */
import { LARGEST_HEAD, Operand, packPanel, packQuad, PANEL, rowAddress, SLICE } from './layout';
import { ACROSS, ADD, ADD_TIMES, DECAY_ADD, product, STORE } from './product';
import { bytesOf, loadElement, loadRow, storeRow } from './storage';
import { exp2Clamped, madd } from './vector';

/** The most tokens of a chunk. */
export const CHUNK: i32 = 48;
/** Bytes of a row of a matrix between the tokens of a chunk. */
export const ROW: usize = ACROSS;
/** Bytes of a panel's rows and columns in such a matrix. */
export const PANEL_ROWS: usize = <usize>PANEL * ROW;
export const PANEL_COLUMNS: usize = <usize>PANEL << 2;
/** Bytes of a panel's rows of a slice of eight columns. */
export const PANEL_SLICE: usize = <usize>PANEL << 5;

const LOG2E: f64 = 1.4426950408889634;
/** Log decays below this are as good as it: their exponential is 0 in any arithmetic, and sums keep their bits. */
const LEAST_LOG: f64 = -1000;

/** Where the host says that the job is cancelled (schedule.ts). */
const ABORT: usize = 64 + 4;

/** As the host writes it; all numbers are float64. */
@unmanaged
export class Problem {
  n: f64;
  h: f64;
  d: f64;
  e: f64;
  scale: f64;
  chunks: f64;
  /** Tokens of a chunk. */
  length: f64;
  /** Groups of value columns, each a task of its own. */
  groups: f64;
  /** Working states, [b * h][slices of e][d to sixes][8]. */
  work: f64;
}
const OPERANDS_AT: usize = 72;
const OPERAND_BYTES: usize = 48;

export const Q: usize = 0;
export const K: usize = 1;
export const V: usize = 2;
export const G: usize = 3;
export const BETA: usize = 4;
/** Before the first token; address 0 for none. */
export const STATE: usize = 5;
/** What follows in the forward pass. */
export const RESULTS_AT: usize = OPERANDS_AT + 6 * OPERAND_BYTES;
/** In the backward pass, what is kept of the chunks, in heap memory with columns in whole slices, one "batch" each. */
export const STATES: usize = 6; // [b * h * (chunks + 1)][d][e]: before each chunk, and after the last
export const ERRORS: usize = 7; // [b * h][chunks * length][e]
export const GRAD_STATES: usize = 8;
export const GRAD_WRITES: usize = 9; // as the errors
export const GRAD_OUT: usize = 10;
/** By the state after the last token; address 0 for none. */
export const GRAD_STATE: usize = 11;
/** What follows in the backward pass. */
export const GRADIENTS_AT: usize = OPERANDS_AT + 12 * OPERAND_BYTES;

// @ts-ignore: decorator
@inline
export function operand(params: usize, at: usize): Operand {
  return changetype<Operand>(params + OPERANDS_AT + at * OPERAND_BYTES);
}

// @ts-ignore: decorator
@inline
export function isAborted(): bool {
  return atomic.load<i32>(ABORT) != 0;
}

// @ts-ignore: decorator
@inline
export function slicesOf(columns: i32): i32 {
  return (columns + SLICE - 1) / SLICE;
}

/** Columns up to a whole number of panels. */
// @ts-ignore: decorator
@inline
export function sixes(columns: i32): i32 {
  return ((columns + PANEL - 1) / PANEL) * PANEL;
}

// One worker's working memory; each kernel has its own after OWN.
export const LOGS: usize = 0; // f64 [48]: G_i log2(e)
export const FROM_START: usize = LOGS + CHUNK * 8; // [48]: e^G_i
export const TO_END: usize = FROM_START + ROW; // [48]: e^(G_last - G_i)
export const BETAS: usize = TO_END + ROW; // [48]
export const SCALED_FROM_START: usize = BETAS + ROW; // [48]: scale e^G_i
export const NEGATIVE_FROM_START: usize = SCALED_FROM_START + ROW; // [48]: -e^G_i
const SIX_FACTORS: usize = NEGATIVE_FROM_START + ROW; // [6]
const LAYOUT: usize = SIX_FACTORS + 32; // six rows as float32 numbers
const POINTERS: usize = LAYOUT + PANEL * LARGEST_HEAD * 4; // to six rows
export const KEYS: usize = POINTERS + 32; // [8 panels][d][6]
export const QUERIES: usize = KEYS + CHUNK * LARGEST_HEAD * 4; // [8 panels][d][6]
export const KEY_TILE: usize = QUERIES + CHUNK * LARGEST_HEAD * 4; // [6 slices][d][8]
export const NEGATIVE_L: usize = KEY_TILE + CHUNK * LARGEST_HEAD * 4; // [48][48]: -L
export const P: usize = NEGATIVE_L + <usize>CHUNK * ROW; // [48][48]
export const OWN: usize = P + <usize>CHUNK * ROW;

/** Decays and betas of the `count` tokens from `first` on; returns e^G of the whole chunk. */
export function openGates(params: usize, batch: i32, head: i32, first: i32, count: i32, scratch: usize): f32 {
  const p = changetype<Problem>(params);
  const g = operand(params, G);
  const beta = operand(params, BETA);
  let log: f64 = 0;
  for (let i: i32 = 0; i < CHUNK; i++) {
    const row = first + i;
    let strength: f32 = 0;
    if (i < count) {
      log += max(<f64>loadElement(rowAddress(g, batch, row, head), <i32>g.dtype), LEAST_LOG) * LOG2E;
      strength = loadElement(rowAddress(beta, batch, row, head), <i32>beta.dtype);
    }
    f64.store(scratch + LOGS + (<usize>i << 3), log);
    f32.store(scratch + BETAS + (<usize>i << 2), strength);
  }
  const scale = f32x4.splat(<f32>p.scale);
  for (let i: usize = 0; i < ROW; i += 16) {
    const logs = scratch + LOGS + (i << 1);
    const fromStart = exp2Clamped(f32x4.neg(less(0, logs)));
    v128.store(scratch + FROM_START + i, fromStart);
    v128.store(scratch + SCALED_FROM_START + i, f32x4.mul(fromStart, scale));
    v128.store(scratch + NEGATIVE_FROM_START + i, f32x4.neg(fromStart));
    v128.store(scratch + TO_END + i, exp2Clamped(less(log, logs)));
  }
  return f32.load(scratch + FROM_START + ROW - 4);
}

/** x less each of four float64 numbers, rounded once. */
// @ts-ignore: decorator
@inline
function less(x: f64, from: usize): v128 {
  const low = f32x4.demote_f64x2_zero(f64x2.sub(f64x2.splat(x), v128.load(from)));
  const high = f32x4.demote_f64x2_zero(f64x2.sub(f64x2.splat(x), v128.load(from, 16)));
  return v128.shuffle<f32>(low, high, 0, 1, 4, 5);
}

/** Keys as panels and as a tile, and -L; with queries also these as panels, and P. Needs the gates. */
export function openChunk(
  params: usize,
  batch: i32,
  head: i32,
  first: i32,
  panels: i32,
  queries: bool,
  scratch: usize,
): void {
  const p = changetype<Problem>(params);
  const n = <i32>p.n;
  const d = <i32>p.d;
  const k = operand(params, K);
  layOutChunk(k, batch, head, n, d, first, panels, scratch + KEYS, scratch);
  layOutTile(k, batch, head, n, d, first, panels * PANEL, scratch + KEY_TILE, scratch);
  multiplyBelow(scratch + KEYS, scratch + KEY_TILE, d, panels, scratch + NEGATIVE_L);
  if (queries) {
    layOutChunk(operand(params, Q), batch, head, n, d, first, panels, scratch + QUERIES, scratch);
    multiplyBelow(scratch + QUERIES, scratch + KEY_TILE, d, panels, scratch + P);
    decay(panels, scratch + P, false, 0, <f32>p.scale, scratch);
  }
  decay(panels, scratch + NEGATIVE_L, true, 0, -1, scratch);
}

/** Rows from `first` on as panels [columns][6 rows], zero past the last of `rows`. */
export function layOutChunk(
  x: Operand,
  batch: i32,
  head: i32,
  rows: i32,
  columns: i32,
  first: i32,
  panels: i32,
  to: usize,
  scratch: usize,
): void {
  const bytes = <usize>(columns * PANEL * 4);
  for (let panel: i32 = 0; panel < panels; panel++, first += PANEL, to += bytes) {
    packPanel(pointTo(x, batch, head, rows, columns, first, PANEL, scratch), columns, to);
  }
}

/** The same rows as a tile, slices [columns][8 rows]. */
export function layOutTile(
  x: Operand,
  batch: i32,
  head: i32,
  rows: i32,
  columns: i32,
  first: i32,
  count: i32,
  to: usize,
  scratch: usize,
): void {
  const bytes = <usize>(columns * SLICE * 4);
  for (let r: i32 = 0; r < count; r += SLICE, to += bytes) {
    packQuad(pointTo(x, batch, head, rows, columns, first + r, 4, scratch), columns, to);
    packQuad(pointTo(x, batch, head, rows, columns, first + r + 4, 4, scratch), columns, to + 16);
  }
}

/** Where the addresses of `count` rows as float32 numbers lie; past the last of `rows` those of zeros. */
function pointTo(
  x: Operand,
  batch: i32,
  head: i32,
  rows: i32,
  columns: i32,
  first: i32,
  count: i32,
  scratch: usize,
): usize {
  const pointers = scratch + POINTERS;
  for (let r: i32 = 0; r < count; r++) {
    let row = scratch + LAYOUT + <usize>(r * LARGEST_HEAD * 4);
    if (first + r < rows) {
      row = loadRow(rowAddress(x, batch, first + r, head), <usize>x.element, <i32>x.dtype, columns, row);
    } else memory.fill(row, 0, <usize>columns << 2);
    store<usize>(pointers + (r << 2), row);
  }
  return pointers;
}

/** a b^T for a as panels, b as a tile: the blocks on and below the diagonal of a [48][48] matrix. */
export function multiplyBelow(a: usize, b: usize, depth: i32, panels: i32, to: usize): void {
  const panelBytes = <usize>(depth * PANEL * 4);
  const sliceBytes = <usize>(depth * SLICE * 4);
  for (let panel: i32 = 0; panel < panels; panel++) {
    const row = to + <usize>panel * PANEL_ROWS;
    for (let s: i32 = 0; s * SLICE < (panel + 1) * PANEL; s++) {
      storeBlock(a + <usize>panel * panelBytes, b + <usize>s * sliceBytes, depth, row + (<usize>s << 5));
    }
  }
}

/**
 * A matrix between tokens times the decay from column to row, a factor of each row, if `factors` is not 0, and one of
 * all; zero above the diagonal, and on it if `strict`.
 */
export function decay(panels: i32, matrix: usize, strict: bool, factors: usize, factor: f32, scratch: usize): void {
  for (let i: i32 = 0; i < panels * PANEL; i++) {
    const log = f64.load(scratch + LOGS + (<usize>i << 3));
    const scale = f32x4.splat(factors ? factor * f32.load(factors + (<usize>i << 2)) : factor);
    const last = i32x4.splat(strict ? i - 1 : i);
    let column = i32x4(0, 1, 2, 3);
    const row = matrix + <usize>i * ROW;
    const end = row + (<usize>((i / PANEL + 1) * PANEL) << 2);
    for (let at = row, logs = scratch + LOGS; at < end; at += 16, logs += 32) {
      const product = f32x4.mul(v128.load(at), f32x4.mul(scale, exp2Clamped(less(log, logs))));
      v128.store(at, v128.and(product, i32x4.le_s(column, last)));
      column = i32x4.add(column, i32x4.splat(4));
    }
  }
}

/** Rows from `first` on times a factor each, as panels [48 rows][6 columns]; zero from `count` to `padded`. */
export function layOutRows(
  x: Operand,
  batch: i32,
  head: i32,
  first: i32,
  count: i32,
  padded: i32,
  columns: i32,
  factors: usize,
  to: usize,
  scratch: usize,
): void {
  const buffer = scratch + LAYOUT;
  const end = buffer + (<usize>sixes(columns) << 2);
  memory.fill(end - PANEL_COLUMNS, 0, PANEL_COLUMNS);
  for (let r: i32 = 0; r < padded; r++, to += PANEL_COLUMNS, factors += 4) {
    if (r < count) {
      const row = loadRow(rowAddress(x, batch, first + r, head), <usize>x.element, <i32>x.dtype, columns, buffer);
      if (row != buffer) copyRow(row, columns, buffer);
    } else memory.fill(buffer, 0, end - buffer);
    const scale = v128.load32_splat(factors);
    for (let at = buffer, panel = to; at < end; at += PANEL_COLUMNS, panel += PANEL_ROWS) {
      v128.store(panel, f32x4.mul(v128.load(at), scale));
      v128.store64_lane(panel, f32x4.mul(v128.load64_zero(at, 16), scale), 0, 16);
    }
  }
}

function copyRow(from: usize, columns: i32, to: usize): void {
  let left = columns;
  for (; left >= 4; left -= 4, from += 16, to += 16) v128.store(to, v128.load(from));
  for (; left > 0; left--, from += 4, to += 4) f32.store(to, f32.load(from));
}

/** Bytes of a slice of eight columns of the chunk. */
export const SLICE_ROWS: usize = <usize>CHUNK << 5;

/**
 * `columns` columns from `column` on of `count` rows, as slices [rows][8] that lie `sliceBytes` apart, zero where the
 * columns or the rows, `padded` of them, end.
 */
export function loadSlices(
  x: Operand,
  batch: i32,
  head: i32,
  first: i32,
  count: i32,
  padded: i32,
  column: i32,
  columns: i32,
  to: usize,
  sliceBytes: usize,
): void {
  const dtype = <i32>x.dtype;
  const step = <usize>x.element * bytesOf(dtype);
  const isPlain = bytesOf(dtype) == 4 && step == 4;
  for (let r: i32 = 0; r < padded; r++, to += 32) {
    let row = rowAddress(x, batch, first + r, head) + <usize>column * step;
    let at = to;
    for (let left = columns; left > 0; left -= SLICE, row += <usize>SLICE * step, at += sliceBytes) {
      if (r < count && left >= SLICE && isPlain) {
        v128.store(at, v128.load(row));
        v128.store(at, v128.load(row, 16), 16);
        continue;
      }
      v128.store(at, f32x4.splat(0));
      v128.store(at, f32x4.splat(0), 16);
      if (r >= count) continue;
      const width = min(SLICE, left);
      const source = loadRow(row, <usize>x.element, dtype, width, at);
      if (source != at) memory.copy(at, source, <usize>width << 2);
    }
  }
}

/** Slices as `loadSlices` gives them, to rows `rowBytes` apart. */
export function storeSlices(
  from: usize,
  sliceBytes: usize,
  count: i32,
  columns: i32,
  to: usize,
  rowBytes: usize,
  dtype: i32,
): void {
  const pieceBytes = <usize>SLICE * bytesOf(dtype);
  for (let r: i32 = 0; r < count; r++, from += 32, to += rowBytes) {
    let piece = from;
    let at = to;
    for (let left = columns; left > 0; left -= SLICE, piece += sliceBytes, at += pieceBytes) {
      if (left >= SLICE && pieceBytes == 32) {
        v128.store(at, v128.load(piece));
        v128.store(at, v128.load(piece, 16), 16);
      } else storeRow(piece, at, dtype, min(SLICE, left));
    }
  }
}

/** Slices of the rows of a chunk to a contiguous tensor [b, n, h, width], from `column` on. */
export function storeTokens(
  from: usize,
  count: i32,
  columns: i32,
  to: f64,
  dtype: f64,
  firstRow: usize,
  h: i32,
  width: i32,
  column: i32,
): void {
  const bytes = bytesOf(<i32>dtype);
  const at = <usize>to + (firstRow * <usize>width + <usize>column) * bytes;
  storeSlices(from, SLICE_ROWS, count, columns, at, <usize>(h * width) * bytes, <i32>dtype);
}

/** A slice of a state times the decay of a chunk, plus a^T b for a as `layOutRows` gives it, b a slice of the chunk. */
export function advance(slice: usize, rows: i32, decay: f32, a: usize, b: usize, depth: i32, scratch: usize): void {
  const factors = scratch + SIX_FACTORS;
  v128.store(factors, f32x4.splat(decay));
  v128.store64_lane(factors, f32x4.splat(decay), 0, 16);
  for (let r: i32 = 0; r < rows; r += PANEL) {
    product(a + <usize>r * ROW, PANEL_COLUMNS, false, b, depth, slice + (<usize>r << 5), 32, DECAY_ADD, factors);
  }
}

// The micro-kernel as functions: its code is long, and a call costs little beside it.

export function storeProduct(a: usize, aStep: usize, b: usize, depth: i32, c: usize): void {
  product(a, aStep, false, b, depth, c, 32, STORE, 0);
}

/** A panel times a tile's slice: six rows of eight columns of a matrix between tokens. */
function storeBlock(panel: usize, b: usize, depth: i32, c: usize): void {
  product(panel, PANEL_COLUMNS, false, b, depth, c, ROW, STORE, 0);
}

export function addProduct(a: usize, aStep: usize, b: usize, depth: i32, c: usize): void {
  product(a, aStep, false, b, depth, c, 32, ADD, 0);
}

/** Six rows of a slice += a factor of each times a panel's rows times b. */
export function addScaled(panel: usize, b: usize, depth: i32, c: usize, factors: usize): void {
  product(panel, PANEL_COLUMNS, false, b, depth, c, 32, ADD_TIMES, factors);
}

/** Six rows of a matrix between tokens, from their first column on, times a slice. */
export function storeRows(matrix: usize, b: usize, depth: i32, c: usize): void {
  product(matrix, 4, true, b, depth, c, 32, STORE, 0);
}

export function addRows(matrix: usize, b: usize, depth: i32, c: usize): void {
  product(matrix, 4, true, b, depth, c, 32, ADD, 0);
}

/** Which way a triangular system is solved. */
export const DOWN: bool = false;
export const UP: bool = true;

/**
 * The diagonal block of a triangular system for six rows x of eight columns: x_r += sum over rows c solved before of
 * m_rc u_c, u_r = beta_r x_r. DOWN solves from the first row on, with m the block; UP from the last, with m transposed.
 */
// @ts-ignore: decorator
@inline
export function substitute(block: usize, x: usize, betas: usize, u: usize, direction: bool): void {
  const back = direction == UP;
  const mRow: usize = back ? <usize>-4 : ROW;
  const mColumn: usize = back ? 0 - ROW : 4;
  const xRow: usize = back ? <usize>-32 : 32;
  const bRow: usize = back ? <usize>-4 : 4;
  if (back) {
    block += 5 * (ROW + 4);
    x += 5 * 32;
    u += 5 * 32;
    betas += 5 * 4;
  }
  for (let half: usize = 0; half < 32; half += 16, x += 16, u += 16) {
    const u0 = f32x4.mul(v128.load(x), v128.load32_splat(betas));
    v128.store(u, u0);

    let m = block + mRow;
    const x1 = madd(v128.load32_splat(m), u0, v128.load(x + xRow));
    const u1 = f32x4.mul(x1, v128.load32_splat(betas + bRow));
    v128.store(x + xRow, x1);
    v128.store(u + xRow, u1);

    m += mRow;
    let x2 = madd(v128.load32_splat(m), u0, v128.load(x + 2 * xRow));
    x2 = madd(v128.load32_splat(m + mColumn), u1, x2);
    const u2 = f32x4.mul(x2, v128.load32_splat(betas + 2 * bRow));
    v128.store(x + 2 * xRow, x2);
    v128.store(u + 2 * xRow, u2);

    m += mRow;
    let x3 = madd(v128.load32_splat(m), u0, v128.load(x + 3 * xRow));
    x3 = madd(v128.load32_splat(m + mColumn), u1, x3);
    x3 = madd(v128.load32_splat(m + 2 * mColumn), u2, x3);
    const u3 = f32x4.mul(x3, v128.load32_splat(betas + 3 * bRow));
    v128.store(x + 3 * xRow, x3);
    v128.store(u + 3 * xRow, u3);

    m += mRow;
    let x4 = madd(v128.load32_splat(m), u0, v128.load(x + 4 * xRow));
    x4 = madd(v128.load32_splat(m + mColumn), u1, x4);
    x4 = madd(v128.load32_splat(m + 2 * mColumn), u2, x4);
    x4 = madd(v128.load32_splat(m + 3 * mColumn), u3, x4);
    const u4 = f32x4.mul(x4, v128.load32_splat(betas + 4 * bRow));
    v128.store(x + 4 * xRow, x4);
    v128.store(u + 4 * xRow, u4);

    m += mRow;
    let x5 = madd(v128.load32_splat(m), u0, v128.load(x + 5 * xRow));
    x5 = madd(v128.load32_splat(m + mColumn), u1, x5);
    x5 = madd(v128.load32_splat(m + 2 * mColumn), u2, x5);
    x5 = madd(v128.load32_splat(m + 3 * mColumn), u3, x5);
    x5 = madd(v128.load32_splat(m + 4 * mColumn), u4, x5);
    v128.store(x + 5 * xRow, x5);
    v128.store(u + 5 * xRow, f32x4.mul(x5, v128.load32_splat(betas + 5 * bRow)));
  }
}
