/**
 * The gated delta rule, S_t = e^g_t S_(t-1) + k_t beta_t (v_t - (e^g_t S_(t-1))^T k_t)^T, out_t = scale S_t^T q_t.
 *
 * Chunked: with S the state before a chunk of tokens, the errors y solve a triangular system,
 * y_i = v_i - e^G_i S^T k_i - sum over j < i of L_ij beta_j y_j; then out_i = scale e^G_i S^T q_i + sum over j <= i of
 * P_ij beta_j y_j, and the next state is e^G_last S + sum of e^(G_last - G_i) k_i beta_i y_i^T (delta-chunk.ts).
 * Everything is products but for blocks of six rows. A task owns a few heads, side by side in memory, or, since columns
 * of values do not mix, some of one head's.
 */
import { isAborted } from '../../runtime/wasm/assembly/control.as';
import {
  addStack,
  advance,
  BETA,
  BETAS,
  CHUNK,
  DOWN,
  ERRORS,
  G,
  K,
  KEY_STACK,
  KEYS,
  loadSlices,
  openChunk,
  openGates,
  openTask,
  operand,
  OWN,
  PANEL_COLUMNS,
  PANEL_ROWS,
  PANEL_SLICE,
  Problem,
  Q,
  QUERY_STACK,
  RESULTS_AT,
  ROW,
  Share,
  sixes,
  SLICE_ROWS,
  STATE,
  STATES,
  storeStack,
  storeTokens,
  substitute,
  V,
} from './chunk.as';
import { keepRows, keepState, openStates, stateSlice, storeStates } from './states.as';
import { fetchRows, LARGEST_HEAD, PANEL, rowAddress, SLICE } from '../../runtime/wasm/assembly/layout.as';
import { exp } from '../../runtime/wasm/assembly/scalar.as';
import { loadElement, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { madd } from '../../runtime/wasm/assembly/vector.as';

/** What follows the operands in the forward pass. */
@unmanaged
class Forward {
  out: f64;
  outDType: f64;
  state: f64;
}

const COLUMNS: usize = OWN; // [slices][48][8]: values, then y, then results
export const DELTA_BYTES: usize = COLUMNS + CHUNK * LARGEST_HEAD * 4;

/** Some heads, or some value columns of one: outputs and last state. */
export function deltaForward(params: usize, task: i32, scratch: usize): void {
  runChunks(params, task, false, scratch);
}

/** Some heads, or some value columns of one: states and errors for the backward pass. */
export function deltaStates(params: usize, task: i32, scratch: usize): void {
  runChunks(params, task, true, scratch);
}

function runChunks(params: usize, task: i32, keep: bool, scratch: usize): void {
  const p = changetype<Problem>(params);
  const n = <i32>p.n;
  const chunks = <i32>p.chunks;
  const length = <i32>p.length;
  const share = openTask(params, task, scratch);
  openStates(params, STATE, share);
  for (let chunk: i32 = 0; chunk < chunks; chunk++) {
    // A task may take seconds.
    if (isAborted()) return;
    const token = chunk * length;
    const count = min(length, n - token);
    fetchRows(operand(params, K), <i32>p.h, share.firstHead, share.pastHead, token, count, <i32>p.d, scratch + OWN);
    fetchRows(operand(params, V), <i32>p.h, share.firstHead, share.pastHead, token, count, <i32>p.e, scratch + OWN);
    if (!keep) {
      fetchRows(operand(params, Q), <i32>p.h, share.firstHead, share.pastHead, token, count, <i32>p.d, scratch + OWN);
    }
    for (let place = share.firstHead; place < share.pastHead; place++) {
      runChunk(params, place, chunk, count, share, keep, scratch);
    }
  }
  if (!keep) {
    storeStates(params, changetype<Forward>(params + RESULTS_AT).state, 0, share);
    return;
  }
  for (let place = share.firstHead; place < share.pastHead; place++) {
    for (let s = share.firstSlice; s < share.pastSlice; s++) keepState(operand(params, STATES), p, place, chunks, s);
  }
}

function runChunk(params: usize, place: i32, chunk: i32, count: i32, share: Share, keep: bool, scratch: usize): void {
  const p = changetype<Problem>(params);
  const f = changetype<Forward>(params + RESULTS_AT);
  const h = <i32>p.h;
  const d = <i32>p.d;
  const e = <i32>p.e;
  const batch = place / h;
  const head = place % h;
  const token = chunk * <i32>p.length;
  const padded = sixes(count);
  const decayed = openGates(params, batch, head, token, count, padded, scratch);
  openChunk(params, batch, head, token, count, padded, !keep, scratch);

  const all = scratch + COLUMNS;
  const column = share.firstSlice * SLICE;
  const columns = min(share.pastSlice * SLICE, e) - column;
  loadSlices(operand(params, V), batch, head, token, count, padded, column, columns, all, SLICE_ROWS);
  // Whole sixes and slices of f32 go where they belong at once.
  const direct = f.outDType == 0 && count == padded && columns % SLICE == 0;
  const row = <usize>(batch * <i32>p.n + token) * <usize>h + <usize>head;
  let out = <usize>f.out + ((row * <usize>e + <usize>column) << 2);
  for (let s = share.firstSlice, slice = all; s < share.pastSlice; s++, slice += SLICE_ROWS, out += 32) {
    if (keep) keepState(operand(params, STATES), p, place, chunk, s);
    const state = stateSlice(p, place, s);
    solve(state, slice, d, padded, scratch);
    if (!keep) {
      if (direct) read(state, d, padded, out, <usize>(h * e) << 2, scratch);
      else read(state, d, padded, slice, 32, scratch);
    }
    advance(state, d, decayed, scratch + KEYS, state + (<usize>d << 5), padded, scratch);
  }
  if (keep) keepRows(operand(params, ERRORS), place, token, count, share, all);
  else if (!direct) storeTokens(all, count, columns, f.out, f.outDType, row, h, e, column);
}

/** A slice of values to errors y, and after the state beta y. */
function solve(state: usize, errors: usize, d: i32, padded: i32, scratch: usize): void {
  let stack = scratch + KEY_STACK;
  let block = stack + <usize>d * ROW;
  let betas = scratch + BETAS;
  let writes = state + (<usize>d << 5);
  for (let depth = d; depth < d + padded; depth += PANEL) {
    addStack(stack, state, depth, errors);
    substitute(block, errors, betas, writes, DOWN);
    stack += PANEL_COLUMNS;
    block += PANEL_ROWS + PANEL_COLUMNS;
    betas += PANEL_COLUMNS;
    errors += PANEL_SLICE;
    writes += PANEL_SLICE;
  }
}

/** The results of the chunk in eight columns. */
function read(state: usize, d: i32, padded: i32, to: usize, toRow: usize, scratch: usize): void {
  let stack = scratch + QUERY_STACK;
  for (let depth = d; depth < d + padded; stack += PANEL_COLUMNS, to += <usize>PANEL * toRow) {
    depth += PANEL;
    storeStack(stack, state, depth, to, toRow);
  }
}

/** The same, token by token. */
export function deltaRecurrent(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const f = changetype<Forward>(params + RESULTS_AT);
  const n = <i32>p.n;
  const h = <i32>p.h;
  const d = <i32>p.d;
  const e = <i32>p.e;
  const q = operand(params, Q);
  const k = operand(params, K);
  const queryBuffer = scratch + QUERY_STACK;
  const keyBuffer = scratch + KEY_STACK;
  const g = operand(params, G);
  const beta = operand(params, BETA);
  const share = openTask(params, task, scratch);
  const all = scratch + COLUMNS;
  const column = share.firstSlice * SLICE;
  const columns = min(share.pastSlice * SLICE, e) - column;
  openStates(params, STATE, share);
  for (let place = share.firstHead; place < share.pastHead; place++) {
    const batch = place / h;
    const head = place % h;
    for (let token: i32 = 0; token < n; token++) {
      if (token % CHUNK == 0 && isAborted()) return;
      const query = loadRow(rowAddress(q, batch, token, head), <usize>q.element, <i32>q.dtype, d, queryBuffer);
      const key = loadRow(rowAddress(k, batch, token, head), <usize>k.element, <i32>k.dtype, d, keyBuffer);
      const kept = <f32>exp(<f64>loadElement(rowAddress(g, batch, token, head), <i32>g.dtype));
      const strength = loadElement(rowAddress(beta, batch, token, head), <i32>beta.dtype);
      const row = <usize>(batch * n + token) * <usize>h + <usize>head;
      loadSlices(operand(params, V), batch, head, token, 1, 1, column, columns, all, SLICE_ROWS);
      for (let s = share.firstSlice, slice = all; s < share.pastSlice; s++, slice += SLICE_ROWS) {
        step(stateSlice(p, place, s), d, query, key, slice, kept, strength, <f32>p.scale);
      }
      storeTokens(all, 1, columns, f.out, f.outDType, row, h, e, column);
    }
  }
  storeStates(params, f.state, 0, share);
}

/** One token of eight value columns, whose values become the results. */
function step(
  state: usize,
  d: i32,
  query: usize,
  key: usize,
  value: usize,
  kept: f32,
  strength: f32,
  scale: f32,
): void {
  const decay = f32x4.splat(kept);
  const end = state + (<usize>d << 5);
  let left = f32x4.splat(0);
  let right = left;
  for (let row = state, at = key; row < end; row += 32, at += 4) {
    const factor = v128.load32_splat(at);
    left = madd(factor, v128.load(row), left);
    right = madd(factor, v128.load(row, 16), right);
  }
  const writeLeft = f32x4.mul(f32x4.splat(strength), f32x4.sub(v128.load(value), f32x4.mul(decay, left)));
  const writeRight = f32x4.mul(f32x4.splat(strength), f32x4.sub(v128.load(value, 16), f32x4.mul(decay, right)));
  left = f32x4.splat(0);
  right = left;
  for (let row = state, at: usize = 0; row < end; row += 32, at += 4) {
    const factor = v128.load32_splat(key + at);
    const a = madd(factor, writeLeft, f32x4.mul(decay, v128.load(row)));
    const b = madd(factor, writeRight, f32x4.mul(decay, v128.load(row, 16)));
    v128.store(row, a);
    v128.store(row, b, 16);
    const reader = v128.load32_splat(query + at);
    left = madd(reader, a, left);
    right = madd(reader, b, right);
  }
  v128.store(value, f32x4.mul(f32x4.splat(scale), left));
  v128.store(value, f32x4.mul(f32x4.splat(scale), right), 16);
}
