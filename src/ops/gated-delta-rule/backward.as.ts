/**
 * Gradients of the gated delta rule, chunk by chunk.
 *
 * With y the errors, u = beta y what is written, L and P as in chunk.as.ts, and dS' the gradient with respect to
 * the state after a chunk, the gradients du by u solve the transposed system, from the last token to the first:
 *   du_j = sum over i of P_ij dout_i + e^(G_last - G_j) dS'^T k_j - sum over i > j of L_ij w_i,
 * with w = beta du, which is the gradient with respect to v. `deltaReverse` does that and keeps dS' of all chunks;
 * then all chunks are
 * independent of each other:
 *   dP = dout u^T, dL = -w u^T, N = dP and M = dL times the decays;
 *   dq = scale e^G (S dout) + N k;
 *   dk = read + write, read = -e^G (S w) + M k, write = e^(G_last - G) (dS' u) + M^T k + N^T q; dbeta = y du.
 * G enters q and the reading of k as e^G, the writing of k as e^-G, so dG = q dq + k (read - write), and for the last
 * token also the product of dS' with the state after the chunk. dg is the sum of dG from a token to the chunk's end.
 */
import { isAborted } from '../../runtime/wasm/assembly/control.as';
import { fetchTokens, layOutChunk, layOutColumns, layOutTokens, loadGates, relate, scaleTokens } from './chunk.as';
import {
  BETAS, KEY_STACK, KEYS, OWN, PANEL_COLUMNS, PANEL_SLICE, QUERY_STACK, ROW, Share, SLICE_ROWS, startChunk, startHead, startTask,
} from './memory.as';
import { addRows, addStack, advance, loadTokens, storeRows, storeStack, storeTokens, substitute, UP } from './slices.as';
import { addBefore, keepRows, keepState, loadStates, stateSlice, storeBefore, storeStates } from './states.as';
import { rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { LARGEST_HEAD, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { bytesOf, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { dot, madd, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { BackwardParams, CHUNK } from './params.generated.as';

const BY_OUT: usize = OWN; // [slices][48][8]
const BY_WRITES: usize = BY_OUT + CHUNK * LARGEST_HEAD * 4; // [slices][48][8]: du
const BY_VALUES: usize = BY_WRITES + CHUNK * LARGEST_HEAD * 4; // [slices][48][8]: w
const REVERSE_BYTES: usize = BY_VALUES + CHUNK * LARGEST_HEAD * 4;

/** Some heads, or some value columns of one, from the last chunk to the first. */
export function deltaReverse(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  const p = f.problem;
  const t = startTask(p, task, scratch);
  loadStates(p, f.gradState, t);
  for (let chunk = p.chunks - 1; chunk >= 0; chunk--) {
    if (isAborted()) return;
    startChunk(p, t, chunk);
    fetchInputs(f, t, scratch);
    for (let place = t.firstHead; place < t.pastHead; place++) {
      startHead(p, t, place);
      reverseChunk(f, t, scratch);
      addBefore(p, t, f.byStates);
      storeBefore(p, t, f.totals);
    }
  }
  if (f.gradInitialState.address != 0) storeStates(p, f.gradInitialState.address, f.gradInitialState.dtype, t);
}

function fetchInputs(f: BackwardParams, t: Share, scratch: usize): void {
  const p = f.problem;
  fetchTokens(p, t, p.q, p.d, scratch);
  fetchTokens(p, t, p.k, p.d, scratch);
  fetchTokens(p, t, f.gradOut, p.e, scratch);
}

function reverseChunk(f: BackwardParams, t: Share, scratch: usize): void {
  const p = f.problem;
  const d = p.d;
  const padded = t.padded;
  const column = t.firstSlice * SLICE;
  const columns = min(t.pastSlice * SLICE, p.e) - column;
  const decayed = loadGates(p, t, scratch);
  layOutChunk(p, t, true, scratch);
  loadTokens(t, f.gradOut, column, columns, scratch + BY_OUT, SLICE_ROWS);
  for (let s = t.firstSlice, at = scratch; s < t.pastSlice; s++, at += SLICE_ROWS) {
    const state = stateSlice(p, t.place, s);
    keepState(f.gradStates, p, t.place, t.chunk + 1, s);
    solveBack(state, at, d, padded, scratch);
    advance(state, d, decayed, scratch + QUERY_STACK, at + BY_OUT, padded, scratch);
    advance(state, d, 1, scratch + KEY_STACK, at + BY_VALUES, padded, scratch);
  }
  keepRows(f.gradWrites, t, scratch + BY_WRITES);
  storeTokens(p, t, scratch + BY_VALUES, columns, f.gradV, p.e, column);
}

/** A slice of BY_WRITES and of BY_VALUES from that of BY_OUT, `slice` beyond it, and the state's gradient. */
function solveBack(state: usize, slice: usize, d: i32, padded: i32, scratch: usize): void {
  const below = <usize>d * ROW;
  for (let first = padded - PANEL; first >= 0; first -= PANEL) {
    const at = <usize>first << 5;
    const tokens = <usize>first << 2;
    const block = below + <usize>first * ROW + tokens;
    const rest = padded - first;
    const to = slice + BY_WRITES + at;
    const values = slice + BY_VALUES + at;
    storeRows(scratch + QUERY_STACK + block, slice + BY_OUT + at, rest, to);
    addStack(scratch + KEYS + tokens, state, d, to);
    const strict = scratch + KEY_STACK + block;
    if (rest > PANEL) addRows(strict + PANEL_COLUMNS, values + PANEL_SLICE, rest - PANEL, to);
    substitute(strict, to, scratch + BETAS + tokens, values, UP);
  }
}

// Working memory of `deltaGradients`: KEYS holds beta y, KEY_STACK w and M, QUERY_STACK dout and N.
const TILES: usize = OWN; // [slices][e][8 rows of the state before the chunk], each slice then keys, [48][8]
const TILES_BYTES: usize = <usize>(LARGEST_HEAD / SLICE) * (<usize>(LARGEST_HEAD + CHUNK) << 5);
const GRAD_STATE_TILE: usize = TILES + TILES_BYTES; // [e][8 rows of the gradient with respect to the state after it]
const QUERY_COLUMNS: usize = GRAD_STATE_TILE + SLICE * LARGEST_HEAD * 4; // [slices][48][8]
const BY_QUERIES: usize = QUERY_COLUMNS + CHUNK * LARGEST_HEAD * 4;
const BY_KEYS: usize = BY_QUERIES + CHUNK * LARGEST_HEAD * 4; // as they are read, then in all
const BY_WRITING: usize = BY_KEYS + CHUNK * LARGEST_HEAD * 4; // [48][8]: by keys as they are written
const BY_LOGS: usize = BY_WRITING + SLICE_ROWS; // [48][4]: four parts of dG each
const NUMBER: usize = BY_LOGS + (CHUNK << 4);
const GRADIENTS_BYTES: usize = NUMBER + 16;

export const DELTA_BACKWARD_BYTES: usize = max(REVERSE_BYTES, GRADIENTS_BYTES);

/** One chunk of some heads: gradients with respect to q, k, g and beta. */
export function deltaGradients(params: usize, task: i32, scratch: usize): void {
  if (isAborted()) return;
  const f = changetype<BackwardParams>(params);
  const p = f.problem;
  const t = startTask(p, (task / p.chunks) * p.parts, scratch);
  startChunk(p, t, task % p.chunks);
  fetchInputs(f, t, scratch);
  for (let place = t.firstHead; place < t.pastHead; place++) {
    startHead(p, t, place);
    gradientsOfChunk(f, t, scratch);
  }
}

function gradientsOfChunk(f: BackwardParams, t: Share, scratch: usize): void {
  const p = f.problem;
  const d = p.d;
  const e = p.e;
  const count = t.count;
  const padded = t.padded;
  const written = scratch + KEYS;
  const gradValues = scratch + KEY_STACK;
  loadGates(p, t, scratch);
  layOutColumns(f.errors, t.place, 0, t.token, count, padded, e, written, ROW, scratch);
  layOutColumns(f.gradWrites, t.place, 0, t.token, count, padded, e, gradValues, ROW, scratch);
  layOutTokens(t, f.gradOut, e, scratch + QUERY_STACK, scratch);
  scaleTokens(written, e, padded, scratch + BETAS, written);
  scaleTokens(gradValues, e, padded, scratch + BETAS, gradValues);
  relate(p, e, padded, gradValues, true, scratch);

  memory.fill(scratch + BY_LOGS, 0, CHUNK << 4);
  const tileBytes = <usize>(e + CHUNK) << 5;
  loadTokens(t, p.q, 0, d, scratch + QUERY_COLUMNS, SLICE_ROWS);
  loadTokens(t, p.k, 0, d, scratch + TILES + (<usize>e << 5), tileBytes);
  const state = t.place * (p.chunks + 1) + t.chunk;
  let tile = scratch + TILES;
  for (let column: i32 = 0, at = scratch; column < d; column += SLICE, at += SLICE_ROWS, tile += tileBytes) {
    const rows = min(SLICE, d - column);
    layOutColumns(f.states, state, 0, column, rows, SLICE, e, tile, 32, scratch);
    layOutColumns(f.gradStates, state + 1, 0, column, rows, SLICE, e, scratch + GRAD_STATE_TILE, 32, scratch);
    gradientColumns(e, padded, tile, at, scratch);
  }
  storeTokens(p, t, scratch + BY_QUERIES, d, f.gradQ, d, 0);
  storeTokens(p, t, scratch + BY_KEYS, d, f.gradK, d, 0);
  storeGates(f, t, scratch);
}

/** Eight columns of the gradients with respect to queries and keys, which lie at `slice`, and their part of BY_LOGS. */
function gradientColumns(e: i32, padded: i32, tile: usize, slice: usize, scratch: usize): void {
  const keys = tile + (<usize>e << 5);
  for (let first: i32 = 0; first < padded; first += PANEL) {
    const at = <usize>first << 5;
    const tokens = <usize>first << 2;
    const block = <usize>(e + first) * ROW + tokens;
    const depth = e + first + PANEL;
    const rest = padded - first;
    storeStack(scratch + QUERY_STACK + tokens, tile, depth, slice + BY_QUERIES + at, 32);
    storeStack(scratch + KEY_STACK + tokens, tile, depth, slice + BY_KEYS + at, 32);
    const byWriting = scratch + BY_WRITING + at;
    storeStack(scratch + KEYS + tokens, scratch + GRAD_STATE_TILE, e, byWriting, 32);
    addRows(scratch + KEY_STACK + block, keys + at, rest, byWriting);
    addRows(scratch + QUERY_STACK + block, slice + QUERY_COLUMNS + at, rest, byWriting);
  }
  joinKeys(keys, padded, slice, scratch);
}

/** BY_LOGS += q dq + k (read - write); BY_KEYS becomes read + write. */
function joinKeys(keys: usize, rows: i32, slice: usize, scratch: usize): void {
  let logs = scratch + BY_LOGS;
  let writes = scratch + BY_WRITING;
  for (let at = slice, end = slice + (<usize>rows << 5); at < end; at += 32, logs += 16) {
    let sum = v128.load(logs);
    for (let half = at; half < at + 32; half += 16, keys += 16, writes += 16) {
      const reading = v128.load(half, BY_KEYS);
      const writing = v128.load(writes);
      sum = madd(v128.load(half, QUERY_COLUMNS), v128.load(half, BY_QUERIES), sum);
      sum = madd(v128.load(keys), f32x4.sub(reading, writing), sum);
      v128.store(half, f32x4.add(reading, writing), BY_KEYS);
    }
    v128.store(logs, sum);
  }
}

/** The gradients with respect to g and beta of a chunk. */
function storeGates(f: BackwardParams, t: Share, scratch: usize): void {
  const p = f.problem;
  const state = t.place * (p.chunks + 1) + t.chunk + 1;
  const states = f.states;
  const bytes = <usize>states.row << 2;
  const gradState = rowAddress(f.gradStates, state, 0, 0);
  let sum = <f64>dot(rowAddress(states, state, 0, 0), gradState, <usize>p.d * bytes);
  for (let i = t.count - 1; i >= 0; i--) {
    const row = t.row + <usize>i * <usize>p.h;
    sum += <f64>sumOfLanes(v128.load(scratch + BY_LOGS + (<usize>i << 4)));
    f32.store(scratch + NUMBER, <f32>sum);
    storeRow(scratch + NUMBER, f.gradG.address + row * bytesOf(f.gradG.dtype), f.gradG.dtype, 1);
    const error = rowAddress(f.errors, t.place, t.token + i, 0);
    const write = rowAddress(f.gradWrites, t.place, t.token + i, 0);
    f32.store(scratch + NUMBER, dot(error, write, bytes));
    storeRow(scratch + NUMBER, f.gradBeta.address + row * bytesOf(f.gradBeta.dtype), f.gradBeta.dtype, 1);
  }
}
