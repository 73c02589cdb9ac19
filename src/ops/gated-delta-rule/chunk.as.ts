/**
 * One chunk of up to 48 tokens of the gated delta rule: its decays, and the matrices that tie its tokens together.
 *
 * With G_i the sum of the chunk's log decays up to token i, a chunk needs L_ij = e^(G_i - G_j) k_i k_j for j < i and
 * P_ij = scale e^(G_i - G_j) q_i k_j for j <= i. Only differences G_i - G_j with j <= i enter an exponential, so it is
 * never above 1. Tokens past the end have zero keys, queries and values, no decay and beta = 0.
 *
 * Tokens lie across: rows [feature][48 tokens], and below them -L or P, transposed, as rows [earlier token][48 tokens].
 * Six tokens of such a stack are what `product` takes as its left side; on the right lies a slice of the state
 * [feature][8], and below it what the earlier tokens wrote, [token][8]: one product reads both.
 */
import { fetchRows, rowAddress, rowBytes } from '../../runtime/wasm/assembly/layout.as';
import { Contiguous, LARGEST_HEAD, Operand, PANEL, SLICE } from '../../runtime/wasm/params.generated.as';
import { ACROSS, ADD, DECAY_ADD, product, STORE } from '../../runtime/wasm/assembly/product.as';
import { bytesOf, loadElement, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { exp2Clamped, madd, storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { CHUNK, Problem } from './params.generated.as';

/** Bytes of a row of numbers of all tokens. */
export const ROW: usize = ACROSS;
/** Bytes of six such rows, and of six tokens of a row. */
export const PANEL_ROWS: usize = <usize>PANEL * ROW;
export const PANEL_COLUMNS: usize = <usize>PANEL << 2;
/** Bytes of a panel's rows of a slice of eight columns. */
export const PANEL_SLICE: usize = <usize>PANEL << 5;

const LOG2E: f64 = 1.4426950408889634;
/** Log decays below this are as good as it: their exponential is 0 in any arithmetic, and sums keep their bits. */
const LEAST_LOG: f64 = -1000;

@inline
export function slicesOf(columns: i32): i32 {
  return (columns + SLICE - 1) / SLICE;
}

/** Columns up to a whole number of panels. */
@inline
export function inPanels(columns: i32): i32 {
  return ((columns + PANEL - 1) / PANEL) * PANEL;
}

/** A task's share, some heads and of each some slices of value columns; and what of it is being computed. */
@unmanaged
export class Share {
  firstHead: i32;
  pastHead: i32;
  firstSlice: i32;
  pastSlice: i32;
  /** The chunk, its first token, how many it has, and these up to a whole number of panels. */
  chunk: i32;
  token: i32;
  count: i32;
  padded: i32;
  /** The head, through all batches. */
  place: i32;
  batch: i32;
  head: i32;
  /** The first token's row in [b, n, h]. */
  row: usize;
}

/** What the task takes, at the start of working memory, whose rows of zeros are written. */
export function startTask(p: Problem, task: i32, scratch: usize): Share {
  const t = changetype<Share>(scratch + SHARE);
  const parts = p.parts;
  const part = task % parts;
  const slices = slicesOf(p.e);
  t.firstHead = (task / parts) * p.group;
  t.pastHead = min(p.heads, t.firstHead + p.group);
  t.firstSlice = (slices * part) / parts;
  t.pastSlice = (slices * (part + 1)) / parts;
  memory.fill(scratch + KEYS - PANEL_ROWS, 0, PANEL_ROWS);
  memory.fill(scratch + KEY_STACK - PANEL_ROWS, 0, PANEL_ROWS);
  memory.fill(scratch + QUERY_STACK - PANEL_ROWS, 0, PANEL_ROWS);
  return t;
}

export function startChunk(p: Problem, t: Share, chunk: i32): void {
  const chunks = (p.every + p.length - 1) / p.length;
  t.chunk = chunk;
  t.token = (chunk / chunks) * p.every + (chunk % chunks) * p.length;
  t.count = min(p.length, min(p.n, t.token - (t.token % p.every) + p.every) - t.token);
  t.padded = inPanels(t.count);
}

export function startHead(p: Problem, t: Share, place: i32): void {
  t.place = place;
  t.batch = place / p.h;
  t.head = place % p.h;
  t.row = <usize>(t.batch * p.n + t.token) * <usize>p.h + <usize>t.head;
}

/** Brings rows of the chunk's tokens into the cache, of all heads. */
export function fetchTokens(p: Problem, t: Share, x: Operand, columns: i32, scratch: usize): void {
  fetchRows(x, p.h, t.firstHead, t.pastHead, t.token, t.count, columns, scratch + OWN);
}

// A thread's working memory; each kernel has its own after OWN. Before the rows of features are six of zeros, which make up
// whole panels.
const SHARE: usize = 0;
const LOGS: usize = SHARE + 64; // f64 [48]: G_i log2(e)
const FROM_START: usize = LOGS + CHUNK * 8; // [48]: e^G_i
const TO_END: usize = FROM_START + ROW; // [48]: e^(G_last - G_i)
export const BETAS: usize = TO_END + ROW; // [48]
const SCALED_FROM_START: usize = BETAS + ROW; // [48]: scale e^G_i
const NEGATIVE_FROM_START: usize = SCALED_FROM_START + ROW; // [48]: -e^G_i
const SIX_FACTORS: usize = NEGATIVE_FROM_START + ROW; // [6]
const BUFFER: usize = SIX_FACTORS + 32; // four rows as float32 numbers
const ROW_BUFFER: usize = LARGEST_HEAD * 4;
export const KEYS: usize = BUFFER + 4 * ROW_BUFFER + PANEL_ROWS; // [d][48]
const STACK_BYTES: usize = <usize>(LARGEST_HEAD + CHUNK) * ROW;
export const KEY_STACK: usize = KEYS + <usize>LARGEST_HEAD * ROW + PANEL_ROWS; // [d][48], then -L
export const QUERY_STACK: usize = KEY_STACK + STACK_BYTES + PANEL_ROWS; // [d][48], then P
export const OWN: usize = QUERY_STACK + STACK_BYTES;

/** Decays and betas of the chunk's tokens; returns e^G of the whole chunk. */
export function loadGates(p: Problem, t: Share, scratch: usize): f32 {
  const count = t.count;
  const padded = t.padded;
  const g = p.g;
  const beta = p.beta;
  const gDType = g.dtype;
  const betaDType = beta.dtype;
  const gStep = rowBytes(g);
  const betaStep = rowBytes(beta);
  let gAt = rowAddress(g, t.batch, t.token, t.head);
  let betaAt = rowAddress(beta, t.batch, t.token, t.head);
  let log: f64 = 0;
  for (let i: i32 = 0; i < padded; i++, gAt += gStep, betaAt += betaStep) {
    let strength: f32 = 0;
    if (i < count) {
      log += max(<f64>loadElement(gAt, gDType), LEAST_LOG) * LOG2E;
      strength = loadElement(betaAt, betaDType);
    }
    f64.store(scratch + LOGS + (<usize>i << 3), log);
    f32.store(scratch + BETAS + (<usize>i << 2), strength);
  }
  const scale = f32x4.splat(<f32>p.scale);
  const bytes = <usize>padded << 2;
  for (let i: usize = 0; i < bytes; i += 16) {
    const logs = scratch + LOGS + (i << 1);
    const fromStart = exp2Clamped(f32x4.neg(less(0, logs)));
    v128.store(scratch + FROM_START + i, fromStart);
    v128.store(scratch + SCALED_FROM_START + i, f32x4.mul(fromStart, scale));
    v128.store(scratch + NEGATIVE_FROM_START + i, f32x4.neg(fromStart));
    v128.store(scratch + TO_END + i, exp2Clamped(less(log, logs)));
  }
  return f32.load(scratch + FROM_START + bytes - 4);
}

/** x less each of four float64 numbers, rounded once. */
@inline
function less(x: f64, from: usize): v128 {
  const low = f32x4.demote_f64x2_zero(f64x2.sub(f64x2.splat(x), v128.load(from)));
  const high = f32x4.demote_f64x2_zero(f64x2.sub(f64x2.splat(x), v128.load(from, 16)));
  return v128.shuffle<f32>(low, high, 0, 1, 4, 5);
}

/** Keys, -L below keys as they are read and, with queries, P below these. Needs the gates. */
export function layOutChunk(p: Problem, t: Share, queries: bool, scratch: usize): void {
  layOutTokens(t, p.k, p.d, scratch + KEYS, scratch);
  if (queries) layOutTokens(t, p.q, p.d, scratch + QUERY_STACK, scratch);
  relate(p, p.d, t.padded, scratch + KEYS, queries, scratch);
}

/** The chunk's tokens as columns [columns][48 tokens]. */
export function layOutTokens(t: Share, x: Operand, columns: i32, to: usize, scratch: usize): void {
  layOutColumns(x, t.batch, t.head, t.token, t.count, t.padded, columns, to, ROW, scratch);
}

/**
 * From the rows x of KEYS, `y`, which may be the same or KEY_STACK, and z of QUERY_STACK, which is used if `both`:
 * in KEY_STACK y times -e^G, below it the products -e^(G_i - G_j) x_j y_i for j < i; in QUERY_STACK z times scale e^G,
 * below it the products scale e^(G_i - G_j) x_j z_i for j <= i; in KEYS x times e^(G_last - G).
 */
export function relate(p: Problem, rows: i32, padded: i32, y: usize, both: bool, scratch: usize): void {
  const x = scratch + KEYS;
  const stack = scratch + KEY_STACK;
  const z = scratch + QUERY_STACK;
  const below = <usize>rows * ROW;
  multiplyLater(x, y, rows, padded, stack + below);
  if (both) multiplyLater(x, z, rows, padded, z + below);
  const scale = <f32>p.scale;
  decay(padded, stack + below, both ? z + below : 0, scale, scratch);
  scaleTokens(y, rows, padded, scratch + NEGATIVE_FROM_START, stack);
  scaleTokens(x, rows, padded, scratch + TO_END, x);
  if (both) scaleTokens(z, rows, padded, scratch + SCALED_FROM_START, z);
}

/**
 * Rows of one head from `first` on as columns [columns][rows], zero from `count` to `padded`; `step` bytes from one
 * column to the next.
 */
export function layOutColumns(
  x: Operand,
  batch: i32,
  head: i32,
  first: i32,
  count: i32,
  padded: i32,
  columns: i32,
  to: usize,
  step: usize,
  scratch: usize,
): void {
  const buffer = scratch + BUFFER;
  const bytes = <usize>columns << 2;
  const element = x.element;
  const dtype = x.dtype;
  const rowStep = rowBytes(x);
  let from = rowAddress(x, batch, first, head);
  for (let r: i32 = 0; r < padded; r += 4, to += 16) {
    const r0 = loadRowOrZeros(r < count, from, element, dtype, columns, buffer);
    from += rowStep;
    const r1 = loadRowOrZeros(r + 1 < count, from, element, dtype, columns, buffer + ROW_BUFFER);
    from += rowStep;
    const r2 = loadRowOrZeros(r + 2 < count, from, element, dtype, columns, buffer + 2 * ROW_BUFFER);
    from += rowStep;
    const r3 = loadRowOrZeros(r + 3 < count, from, element, dtype, columns, buffer + 3 * ROW_BUFFER);
    from += rowStep;
    let at = to;
    let c: usize = 0;
    for (; c + 16 <= bytes; c += 16, at += 4 * step) {
      storeTransposed(v128.load(r0 + c), v128.load(r1 + c), v128.load(r2 + c), v128.load(r3 + c), at, step);
    }
    for (; c < bytes; c += 4, at += step) {
      f32.store(at, f32.load(r0 + c));
      f32.store(at, f32.load(r1 + c), 4);
      f32.store(at, f32.load(r2 + c), 8);
      f32.store(at, f32.load(r3 + c), 12);
    }
  }
}

/** A row as float32 numbers, or zeros; in `buffer` if need be. */
@inline
function loadRowOrZeros(
  exists: bool,
  from: usize,
  element: usize,
  dtype: i32,
  columns: i32,
  buffer: usize,
): usize {
  if (exists) return loadRow(from, element, dtype, columns, buffer);
  memory.fill(buffer, 0, <usize>columns << 2);
  return buffer;
}

/** Products of tokens with those that are not in earlier panels, [earlier][later]. */
function multiplyLater(earlier: usize, later: usize, depth: i32, padded: i32, to: usize): void {
  for (let r: i32 = 0; r < padded; r += PANEL, earlier += PANEL_COLUMNS, to += PANEL_ROWS) {
    for (let c = <usize>((r / SLICE) * SLICE) << 2; c < <usize>padded << 2; c += SLICE << 2) {
      product(earlier, ROW, false, later + c, depth, to + c, ROW, STORE, 0, ROW);
    }
  }
}

/** Products times the decays between: `strict` also times -1, `other`, unless 0, times scale; zero where not later. */
function decay(padded: i32, strict: usize, other: usize, scale: f32, scratch: usize): void {
  const scales = f32x4.splat(scale);
  const zero = i32x4.splat(0);
  for (let j: i32 = 0; j < padded; j++) {
    const log = f64.load(scratch + LOGS + (<usize>j << 3));
    const first = ((j / PANEL) * PANEL) & ~3;
    let distance = i32x4.add(i32x4.splat(first - j), i32x4(0, 1, 2, 3));
    const row = <usize>j * ROW;
    for (let c = first; c < padded; c += 4) {
      const decays = exp2Clamped(f32x4.neg(less(log, scratch + LOGS + (<usize>c << 3))));
      const at = row + (<usize>c << 2);
      const products = f32x4.mul(v128.load(strict + at), f32x4.neg(decays));
      v128.store(strict + at, v128.and(products, i32x4.gt_s(distance, zero)));
      if (other) {
        const others = f32x4.mul(v128.load(other + at), f32x4.mul(scales, decays));
        v128.store(other + at, v128.and(others, i32x4.ge_s(distance, zero)));
      }
      distance = i32x4.add(distance, i32x4.splat(4));
    }
  }
}

/** Numbers of all tokens times a factor of each. */
export function scaleTokens(rows: usize, count: i32, padded: i32, factors: usize, to: usize): void {
  const bytes = <usize>padded << 2;
  for (const end = rows + <usize>count * ROW; rows < end; rows += ROW, to += ROW) {
    for (let c: usize = 0; c < bytes; c += 16) {
      v128.store(to + c, f32x4.mul(v128.load(rows + c), v128.load(factors + c)));
    }
  }
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
  const dtype = x.dtype;
  const step = x.element * bytesOf(dtype);
  const isPlain = bytesOf(dtype) == 4 && step == 4;
  const rowStep = rowBytes(x);
  let from = rowAddress(x, batch, first, head) + <usize>column * step;
  for (let r: i32 = 0; r < padded; r++, to += 32, from += rowStep) {
    let row = from;
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
      const source = loadRow(row, x.element, dtype, width, at);
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

/** Columns of the chunk's tokens as slices. */
export function loadTokens(t: Share, x: Operand, column: i32, columns: i32, to: usize, sliceBytes: usize): void {
  loadSlices(x, t.batch, t.head, t.token, t.count, t.padded, column, columns, to, sliceBytes);
}

/** Slices of the chunk's tokens to a contiguous tensor [b, n, h, width], from `column` on. */
export function storeTokens(p: Problem, t: Share, from: usize, columns: i32, to: Contiguous, width: i32, column: i32): void {
  const bytes = bytesOf(to.dtype);
  const at = to.address + (t.row * <usize>width + <usize>column) * bytes;
  storeSlices(from, SLICE_ROWS, t.count, columns, at, <usize>(p.h * width) * bytes, to.dtype);
}

/** A slice of a state times the decay of a chunk, plus features [d][48] times numbers of the tokens, [48][8]. */
export function advance(state: usize, d: i32, decay: f32, features: usize, b: usize, depth: i32, scratch: usize): void {
  const factors = scratch + SIX_FACTORS;
  v128.store(factors, f32x4.splat(decay));
  v128.store64_lane(factors, f32x4.splat(decay), 0, 16);
  const zeros = <usize>(inPanels(d) - d);
  let a = features - zeros * ROW;
  const end = state + (<usize>d << 5);
  for (let six = state - (zeros << 5); six < end; six += PANEL_SLICE, a += PANEL_ROWS) {
    product(a, 4, true, b, depth, six, 32, DECAY_ADD, factors);
  }
}

// The micro-kernel as functions: its code is long, and a call costs little beside it. `stack` begins with the first of
// six tokens.

export function storeStack(stack: usize, b: usize, depth: i32, c: usize, cStep: usize): void {
  product(stack, ROW, false, b, depth, c, cStep, STORE, 0);
}

export function addStack(stack: usize, b: usize, depth: i32, c: usize): void {
  product(stack, ROW, false, b, depth, c, 32, ADD, 0);
}

/** Six rows between tokens times a slice. */
export function storeRows(rows: usize, b: usize, depth: i32, c: usize): void {
  product(rows, 4, true, b, depth, c, 32, STORE, 0);
}

export function addRows(rows: usize, b: usize, depth: i32, c: usize): void {
  product(rows, 4, true, b, depth, c, 32, ADD, 0);
}

/** Which way a triangular system is solved. */
export const DOWN: bool = false;
export const UP: bool = true;

/**
 * The diagonal block of a triangular system for six rows x of eight columns: x_r += sum over rows c solved before of
 * m_cr u_c, u_r = beta_r x_r. DOWN solves from the first row on, with m the block; UP from the last, with m transposed.
 */
@inline
export function substitute(block: usize, x: usize, betas: usize, u: usize, direction: bool): void {
  const back = direction == UP;
  const mRow: usize = back ? 0 - ROW : 4;
  const mColumn: usize = back ? <usize>-4 : ROW;
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
