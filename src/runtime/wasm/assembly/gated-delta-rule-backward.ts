/**
 * Gradients of the gated delta rule, chunk by chunk.
 *
 * With y the errors, u = beta y what is written, L and P as in delta-chunk.ts, and dS' the gradient by the state after
 * a chunk, the gradients du by u solve the transposed system, from the last token to the first:
 *   du_j = sum over i of P_ij dout_i + e^(G_last - G_j) dS'^T k_j - sum over i > j of L_ij w_i,
 * with w = beta du, which is the gradient by v. `deltaReverse` does that and keeps dS' of all chunks; then all chunks are
 * independent of each other:
 *   dP = dout u^T, dL = -w u^T, N = dP and M = dL times the decays;
 *   dq = scale e^G (S dout) + N k;
 *   dk = read + write, read = -e^G (S w) + M k, write = e^(G_last - G) (dS' u) + M^T k + N^T q; dbeta = y du.
 * G enters q and the reading of k as e^G, the writing of k as e^-G, so dG = q dq + k (read - write), and for the last
 * token also the product of dS' with the state after the chunk. dg is the sum of dG from a token to the chunk's end.
 */
import {
  addProduct,
  addScaled,
  advance,
  BETAS,
  CHUNK,
  decay,
  ERRORS,
  GRAD_OUT,
  GRAD_STATE,
  GRAD_STATES,
  GRAD_WRITES,
  GRADIENTS_AT,
  isAborted,
  K,
  KEY_TILE,
  KEYS,
  layOutChunk,
  layOutRows,
  layOutTile,
  loadSlices,
  multiplyBelow,
  NEGATIVE_FROM_START,
  NEGATIVE_L,
  openChunk,
  openGates,
  operand,
  OWN,
  P,
  PANEL_COLUMNS,
  PANEL_ROWS,
  PANEL_SLICE,
  Problem,
  Q,
  QUERIES,
  ROW,
  SCALED_FROM_START,
  sixes,
  SLICE_ROWS,
  STATES,
  storeProduct,
  storeRows,
  storeTokens,
  substitute,
  TO_END,
  UP,
} from './delta-chunk';
import { firstSlice, keepRows, keepState, openStates, stateSlice, storeState } from './delta-states';
import { LARGEST_HEAD, PANEL, rowAddress, SLICE } from './layout';
import { bytesOf, storeRow } from './storage';
import { madd, sumOfLanes } from './vector';

/** Where the gradients go, contiguous. */
@unmanaged
class Gradients {
  q: f64;
  qDType: f64;
  k: f64;
  kDType: f64;
  v: f64;
  vDType: f64;
  g: f64;
  gDType: f64;
  beta: f64;
  betaDType: f64;
  /** Address 0: not wanted. */
  state: f64;
  stateDType: f64;
}

// @ts-ignore: decorator
@inline
function gradientsOf(params: usize): Gradients {
  return changetype<Gradients>(params + GRADIENTS_AT);
}

const QUERY_ROWS: usize = OWN; // [panels of d][48][6], times scale e^G
const KEY_ROWS: usize = QUERY_ROWS + CHUNK * (LARGEST_HEAD + PANEL) * 4; // times -e^G
const BY_OUT: usize = KEY_ROWS + CHUNK * (LARGEST_HEAD + PANEL) * 4; // [slices][48][8]
const BY_WRITES: usize = BY_OUT + CHUNK * LARGEST_HEAD * 4; // [slices][48][8]: du
const BY_VALUES: usize = BY_WRITES + CHUNK * LARGEST_HEAD * 4; // [slices][48][8]: w
const REVERSE_BYTES: usize = BY_VALUES + CHUNK * LARGEST_HEAD * 4;

/** One group of value columns of one head, from the last chunk to the first. */
export function deltaReverse(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const to = gradientsOf(params);
  const n = <i32>p.n;
  const h = <i32>p.h;
  const d = <i32>p.d;
  const e = <i32>p.e;
  const chunks = <i32>p.chunks;
  const length = <i32>p.length;
  const place = task / <i32>p.groups;
  const batch = place / h;
  const head = place % h;
  const group = task % <i32>p.groups;
  const first = firstSlice(p, group);
  const past = firstSlice(p, group + 1);
  const rows = sixes(d);
  const column = first * SLICE;
  const columns = min(past * SLICE, e) - column;
  const gradOut = operand(params, GRAD_OUT);
  openStates(p, operand(params, GRAD_STATE), place, first, past);

  for (let chunk = chunks - 1; chunk >= 0; chunk--) {
    if (isAborted()) return;
    const token = chunk * length;
    const count = min(length, n - token);
    const panels = (count + PANEL - 1) / PANEL;
    const padded = panels * PANEL;
    const decayed = openGates(params, batch, head, token, count, scratch);
    openChunk(params, batch, head, token, panels, true, scratch);
    const scaled = scratch + SCALED_FROM_START;
    const negative = scratch + NEGATIVE_FROM_START;
    layOutRows(operand(params, Q), batch, head, token, count, padded, d, scaled, scratch + QUERY_ROWS, scratch);
    layOutRows(operand(params, K), batch, head, token, count, padded, d, negative, scratch + KEY_ROWS, scratch);
    loadSlices(gradOut, batch, head, token, count, padded, column, columns, scratch + BY_OUT, SLICE_ROWS);
    for (let s = first, at = scratch; s < past; s++, at += SLICE_ROWS) {
      const state = stateSlice(p, place, s);
      keepState(operand(params, GRAD_STATES), p, place, chunk + 1, s, state);
      solveBack(state, at, d, panels, scratch);
      advance(state, rows, decayed, scratch + QUERY_ROWS, at + BY_OUT, padded, scratch);
      advance(state, rows, 1, scratch + KEY_ROWS, at + BY_VALUES, padded, scratch);
    }
    keepRows(operand(params, GRAD_WRITES), place, token, count, first, past, scratch + BY_WRITES);
    const row = <usize>(batch * n + token) * <usize>h + <usize>head;
    storeTokens(scratch + BY_VALUES, count, columns, to.v, to.vDType, row, h, e, column);
  }
  if (to.state == 0) return;
  for (let s = first; s < past; s++) storeState(to.state, <i32>to.stateDType, p, place, s, stateSlice(p, place, s));
}

/** A slice of BY_WRITES and of BY_VALUES from that of BY_OUT, `slice` beyond it, and the state's gradient. */
function solveBack(state: usize, slice: usize, d: i32, panels: i32, scratch: usize): void {
  for (let panel = panels - 1; panel >= 0; panel--) {
    const at = <usize>panel * PANEL_SLICE;
    const tokens = <usize>panel * PANEL_COLUMNS;
    const block = <usize>panel * PANEL_ROWS + tokens;
    const rest = (panels - panel) * PANEL;
    const to = slice + BY_WRITES + at;
    storeProduct(scratch + P + block, ROW, slice + BY_OUT + at, rest, to);
    addScaled(scratch + KEYS + tokens * <usize>d, state, d, to, scratch + TO_END + tokens);
    const later = slice + BY_VALUES + at;
    if (rest > PANEL) {
      addProduct(scratch + NEGATIVE_L + block + PANEL_ROWS, ROW, later + PANEL_SLICE, rest - PANEL, to);
    }
    substitute(scratch + NEGATIVE_L + block, to, scratch + BETAS + tokens, later, UP);
  }
}

// Working memory of `deltaGradients`, in place of keys, queries, tile and what follows them.
const OUT_PANELS: usize = KEYS; // of dout, [8 panels][e][6]
const WRITE_PANELS: usize = QUERIES; // of du
const ERROR_TILE: usize = KEY_TILE; // of y, times beta, [6 slices][e][8]
const M: usize = NEGATIVE_L;
const N: usize = P;
const ERROR_PANELS: usize = OWN; // of y
const STATE_TILE: usize = ERROR_PANELS + CHUNK * LARGEST_HEAD * 4; // [e][8 rows of the state before the chunk]
const GRAD_STATE_TILE: usize = STATE_TILE + SLICE * LARGEST_HEAD * 4; // of the gradient by that after it
const QUERY_COLUMNS: usize = GRAD_STATE_TILE + SLICE * LARGEST_HEAD * 4; // [slices][48][8]
const KEY_COLUMNS: usize = QUERY_COLUMNS + CHUNK * LARGEST_HEAD * 4;
const BY_QUERIES: usize = KEY_COLUMNS + CHUNK * LARGEST_HEAD * 4;
const BY_READING: usize = BY_QUERIES + CHUNK * LARGEST_HEAD * 4; // by keys as they are read, then by keys
const BY_WRITING: usize = BY_READING + CHUNK * LARGEST_HEAD * 4; // [48][8]: by keys as they are written
const BY_LOGS: usize = BY_WRITING + SLICE_ROWS; // [48][4]: four parts of dG each
const READ_FACTORS: usize = BY_LOGS + (CHUNK << 4); // [48]: -beta e^G
const WRITE_FACTORS: usize = READ_FACTORS + ROW; // [48]: beta e^(G_last - G)
const NUMBER: usize = WRITE_FACTORS + ROW;
const GRADIENTS_BYTES: usize = NUMBER + 16;

export const DELTA_BACKWARD_BYTES: usize = max(REVERSE_BYTES, GRADIENTS_BYTES);

/** One chunk of one head: gradients by q, k, g and beta. */
export function deltaGradients(params: usize, task: i32, scratch: usize): void {
  if (isAborted()) return;
  const p = changetype<Problem>(params);
  const to = gradientsOf(params);
  const n = <i32>p.n;
  const h = <i32>p.h;
  const d = <i32>p.d;
  const chunks = <i32>p.chunks;
  const length = <i32>p.length;
  const place = task / chunks;
  const batch = place / h;
  const head = place % h;
  const token = (task % chunks) * length;
  const count = min(length, n - token);
  const panels = (count + PANEL - 1) / PANEL;

  openGates(params, batch, head, token, count, scratch);
  openGradients(params, place, token, panels, scratch);
  memory.fill(scratch + BY_LOGS, 0, CHUNK << 4);
  const rows = panels * PANEL;
  loadSlices(operand(params, Q), batch, head, token, count, rows, 0, d, scratch + QUERY_COLUMNS, SLICE_ROWS);
  loadSlices(operand(params, K), batch, head, token, count, rows, 0, d, scratch + KEY_COLUMNS, SLICE_ROWS);
  for (let column: i32 = 0, at = scratch; column < d; column += SLICE, at += SLICE_ROWS) {
    gradientColumns(params, place, token, panels, column, at, scratch);
  }
  const firstRow = <usize>(batch * n + token) * <usize>h + <usize>head;
  storeTokens(scratch + BY_QUERIES, count, d, to.q, to.qDType, firstRow, h, d, 0);
  storeTokens(scratch + BY_READING, count, d, to.k, to.kDType, firstRow, h, d, 0);
  storeGates(params, place, token, count, firstRow, scratch);
}

/** What all columns of a chunk's gradients need: the panels, the factors of rows, M and N. */
function openGradients(params: usize, place: i32, token: i32, panels: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const n = <i32>p.n;
  const h = <i32>p.h;
  const e = <i32>p.e;
  const errors = operand(params, ERRORS);
  layOutChunk(operand(params, GRAD_OUT), place / h, place % h, n, e, token, panels, scratch + OUT_PANELS, scratch);
  layOutChunk(operand(params, GRAD_WRITES), place, 0, n, e, token, panels, scratch + WRITE_PANELS, scratch);
  layOutChunk(errors, place, 0, n, e, token, panels, scratch + ERROR_PANELS, scratch);
  layOutTile(errors, place, 0, n, e, token, panels * PANEL, scratch + ERROR_TILE, scratch);
  const sliceBytes = <usize>e << 5;
  for (let s: i32 = 0; s * SLICE < panels * PANEL; s++) {
    const left = v128.load(scratch + BETAS + (<usize>s << 5));
    const right = v128.load(scratch + BETAS + (<usize>s << 5), 16);
    const slice = scratch + ERROR_TILE + <usize>s * sliceBytes;
    for (let at = slice; at < slice + sliceBytes; at += 32) {
      v128.store(at, f32x4.mul(v128.load(at), left));
      v128.store(at, f32x4.mul(v128.load(at, 16), right), 16);
    }
  }
  multiplyBelow(scratch + OUT_PANELS, scratch + ERROR_TILE, e, panels, scratch + N);
  multiplyBelow(scratch + WRITE_PANELS, scratch + ERROR_TILE, e, panels, scratch + M);
  decay(panels, scratch + N, false, 0, <f32>p.scale, scratch);
  decay(panels, scratch + M, true, scratch + BETAS, -1, scratch);
  for (let i: usize = 0; i < ROW; i += 16) {
    const betas = v128.load(scratch + BETAS + i);
    v128.store(scratch + READ_FACTORS + i, f32x4.mul(betas, v128.load(scratch + NEGATIVE_FROM_START + i)));
    v128.store(scratch + WRITE_FACTORS + i, f32x4.mul(betas, v128.load(scratch + TO_END + i)));
  }
}

/** Eight columns of the gradients by queries and keys, which lie at `slice`, and their part of BY_LOGS. */
function gradientColumns(
  params: usize,
  place: i32,
  token: i32,
  panels: i32,
  column: i32,
  slice: usize,
  scratch: usize,
): void {
  const p = changetype<Problem>(params);
  const d = <i32>p.d;
  const e = <i32>p.e;
  const rows = panels * PANEL;
  const state = place * (<i32>p.chunks + 1) + token / <i32>p.length;
  layOutTile(operand(params, STATES), state, 0, d, e, column, SLICE, scratch + STATE_TILE, scratch);
  layOutTile(operand(params, GRAD_STATES), state + 1, 0, d, e, column, SLICE, scratch + GRAD_STATE_TILE, scratch);
  for (let panel: i32 = 0; panel < panels; panel++) {
    const at = <usize>panel * PANEL_SLICE;
    const tokens = <usize>panel * PANEL_COLUMNS;
    const ofPanel = tokens * <usize>e;
    const row = <usize>panel * PANEL_ROWS;
    const block = row + tokens;
    const past = (panel + 1) * PANEL;

    const keys = slice + KEY_COLUMNS;
    const byQueries = slice + BY_QUERIES + at;
    storeRows(scratch + N + row, keys, past, byQueries);
    addScaled(scratch + OUT_PANELS + ofPanel, scratch + STATE_TILE, e, byQueries, scratch + SCALED_FROM_START + tokens);

    const byReading = slice + BY_READING + at;
    storeRows(scratch + M + row, keys, past, byReading);
    addScaled(scratch + WRITE_PANELS + ofPanel, scratch + STATE_TILE, e, byReading, scratch + READ_FACTORS + tokens);

    const byWriting = scratch + BY_WRITING + at;
    const rest = rows - panel * PANEL;
    storeProduct(scratch + M + block, ROW, keys + at, rest, byWriting);
    addProduct(scratch + N + block, ROW, slice + QUERY_COLUMNS + at, rest, byWriting);
    const factors = scratch + WRITE_FACTORS + tokens;
    addScaled(scratch + ERROR_PANELS + ofPanel, scratch + GRAD_STATE_TILE, e, byWriting, factors);
  }
  joinKeys(rows, slice, scratch);
}

/** BY_LOGS += q dq + k (read - write); BY_READING becomes read + write. */
function joinKeys(rows: i32, slice: usize, scratch: usize): void {
  let logs = scratch + BY_LOGS;
  let writes = scratch + BY_WRITING;
  for (let at = slice, end = slice + (<usize>rows << 5); at < end; at += 32, logs += 16) {
    let sum = v128.load(logs);
    for (let half = at; half < at + 32; half += 16, writes += 16) {
      const reading = v128.load(half, BY_READING);
      const writing = v128.load(writes);
      sum = madd(v128.load(half, QUERY_COLUMNS), v128.load(half, BY_QUERIES), sum);
      sum = madd(v128.load(half, KEY_COLUMNS), f32x4.sub(reading, writing), sum);
      v128.store(half, f32x4.add(reading, writing), BY_READING);
    }
    v128.store(logs, sum);
  }
}

/** The gradients by g and beta of a chunk. */
function storeGates(params: usize, place: i32, token: i32, count: i32, firstRow: usize, scratch: usize): void {
  const p = changetype<Problem>(params);
  const to = gradientsOf(params);
  const h = <usize>p.h;
  const state = place * (<i32>p.chunks + 1) + token / <i32>p.length + 1;
  const states = operand(params, STATES);
  const size = <i32>p.d * <i32>states.row;
  const gradState = rowAddress(operand(params, GRAD_STATES), state, 0, 0);
  let sum = <f64>dot(rowAddress(states, state, 0, 0), gradState, size);
  for (let i = count - 1; i >= 0; i--) {
    const row = firstRow + <usize>i * h;
    sum += <f64>sumOfLanes(v128.load(scratch + BY_LOGS + (<usize>i << 4)));
    f32.store(scratch + NUMBER, <f32>sum);
    storeRow(scratch + NUMBER, <usize>to.g + row * bytesOf(<i32>to.gDType), <i32>to.gDType, 1);
    const error = rowAddress(operand(params, ERRORS), place, token + i, 0);
    const write = rowAddress(operand(params, GRAD_WRITES), place, token + i, 0);
    f32.store(scratch + NUMBER, dot(error, write, <i32>states.row));
    storeRow(scratch + NUMBER, <usize>to.beta + row * bytesOf(<i32>to.betaDType), <i32>to.betaDType, 1);
  }
}

/** The product of two rows of whole slices. */
function dot(a: usize, b: usize, count: i32): f32 {
  let left = f32x4.splat(0);
  let right = left;
  for (const end = a + (<usize>count << 2); a < end; a += 32, b += 32) {
    left = madd(v128.load(a), v128.load(b), left);
    right = madd(v128.load(a, 16), v128.load(b, 16), right);
  }
  return sumOfLanes(f32x4.add(left, right));
}
