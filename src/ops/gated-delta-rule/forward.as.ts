/**
 * The gated delta rule, S_t = e^g_t S_(t-1) + k_t beta_t (v_t - (e^g_t S_(t-1))^T k_t)^T, out_t = scale S_t^T q_t.
 *
 * Chunked: with S the state before a chunk of tokens, the errors y solve a triangular system,
 * y_i = v_i - e^G_i S^T k_i - sum over j < i of L_ij beta_j y_j; then out_i = scale e^G_i S^T q_i + sum over j <= i of
 * P_ij beta_j y_j, and the next state is e^G_last S + sum of e^(G_last - G_i) k_i beta_i y_i^T (chunk.as.ts).
 * Everything is products but for blocks of six rows. A task owns a few heads, side by side in memory, or, since columns
 * of values do not mix, some of one head's.
 */
import { isAborted } from '../../runtime/wasm/assembly/control.as';
import { fetchTokens, layOutChunk, loadGates } from './chunk.as';
import {
  BETAS, KEY_STACK, KEYS, OWN, PANEL_COLUMNS, PANEL_ROWS, PANEL_SLICE, QUERY_STACK, ROW, Share, SLICE_ROWS, startChunk,
  startHead, startTask,
} from './memory.as';
import { addStack, advance, DOWN, loadTokens, storeStack, storeTokens, substitute } from './slices.as';
import { keepRows, keepState, loadStates, stateSlice, storeBefore, storeStates } from './states.as';
import { rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { F32, LARGEST_HEAD, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { exp } from '../../runtime/wasm/assembly/scalar.as';
import { loadElement, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { BackwardParams, CHUNK, ForwardParams, Problem } from './params.generated.as';

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
  const f = changetype<ForwardParams>(params);
  const kept = changetype<BackwardParams>(params);
  const t = startTask(p, task, scratch);
  loadStates(p, p.initialState, t);
  for (let chunk: i32 = 0; chunk < p.chunks; chunk++) {
    // A task may take seconds.
    if (isAborted()) return;
    startChunk(p, t, chunk);
    fetchTokens(p, t, p.k, p.d, scratch);
    fetchTokens(p, t, p.v, p.e, scratch);
    if (!keep) fetchTokens(p, t, p.q, p.d, scratch);
    for (let place = t.firstHead; place < t.pastHead; place++) {
      startHead(p, t, place);
      if (!keep) storeBefore(p, t, f.states);
      runChunk(params, t, keep, scratch);
    }
  }
  if (!keep) {
    storeStates(p, f.state, 0, t);
    return;
  }
  for (let place = t.firstHead; place < t.pastHead; place++) {
    for (let s = t.firstSlice; s < t.pastSlice; s++) keepState(kept.states, p, place, p.chunks, s);
  }
}

function runChunk(params: usize, t: Share, keep: bool, scratch: usize): void {
  const p = changetype<Problem>(params);
  const f = changetype<ForwardParams>(params);
  const kept = changetype<BackwardParams>(params);
  const d = p.d;
  const e = p.e;
  const padded = t.padded;
  const decayed = loadGates(p, t, scratch);
  layOutChunk(p, t, !keep, scratch);

  const all = scratch + COLUMNS;
  const column = t.firstSlice * SLICE;
  const columns = min(t.pastSlice * SLICE, e) - column;
  loadTokens(t, p.v, column, columns, all, SLICE_ROWS);
  // Whole panels and slices of f32 go where they belong at once.
  const direct = f.out.dtype == F32 && t.count == padded && columns % SLICE == 0;
  let out = f.out.address + ((t.row * <usize>e + <usize>column) << 2);
  for (let s = t.firstSlice, slice = all; s < t.pastSlice; s++, slice += SLICE_ROWS, out += 32) {
    if (keep) keepState(kept.states, p, t.place, t.chunk, s);
    const state = stateSlice(p, t.place, s);
    solve(state, slice, d, padded, scratch);
    if (!keep) {
      if (direct) read(state, d, padded, out, <usize>(p.h * e) << 2, scratch);
      else read(state, d, padded, slice, 32, scratch);
    }
    advance(state, d, decayed, scratch + KEYS, state + (<usize>d << 5), padded, scratch);
  }
  if (keep) keepRows(kept.errors, t, all);
  else if (!direct) storeTokens(p, t, all, columns, f.out, e, column);
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
  const f = changetype<ForwardParams>(params);
  const d = p.d;
  const e = p.e;
  const q = p.q;
  const k = p.k;
  const g = p.g;
  const beta = p.beta;
  const t = startTask(p, task, scratch);
  const all = scratch + COLUMNS;
  const column = t.firstSlice * SLICE;
  const columns = min(t.pastSlice * SLICE, e) - column;
  loadStates(p, p.initialState, t);
  t.count = t.padded = 1;
  for (let place = t.firstHead; place < t.pastHead; place++) {
    for (let token: i32 = 0; token < p.n; token++) {
      if (token % CHUNK == 0 && isAborted()) return;
      t.token = token;
      startHead(p, t, place);
      storeBefore(p, t, f.states);
      const query = loadRow(rowAddress(q, t.batch, token, t.head), q.element, q.dtype, d, scratch + QUERY_STACK);
      const key = loadRow(rowAddress(k, t.batch, token, t.head), k.element, k.dtype, d, scratch + KEY_STACK);
      const kept = <f32>exp(<f64>loadElement(rowAddress(g, t.batch, token, t.head), g.dtype));
      const strength = loadElement(rowAddress(beta, t.batch, token, t.head), beta.dtype);
      loadTokens(t, p.v, column, columns, all, SLICE_ROWS);
      for (let s = t.firstSlice, slice = all; s < t.pastSlice; s++, slice += SLICE_ROWS) {
        step(stateSlice(p, place, s), d, query, key, slice, kept, strength, <f32>p.scale);
      }
      storeTokens(p, t, all, columns, f.out, e, column);
    }
  }
  storeStates(p, f.state, 0, t);
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
