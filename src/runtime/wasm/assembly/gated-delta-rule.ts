/**
 * The gated delta rule, S_t = e^g_t S_(t-1) + k_t beta_t (v_t - (e^g_t S_(t-1))^T k_t)^T, out_t = scale S_t^T q_t.
 *
 * Chunked: with S the state before a chunk of tokens, the errors y solve a triangular system,
 * y_i = v_i - e^G_i S^T k_i - sum over j < i of L_ij beta_j y_j; then out_i = scale e^G_i S^T q_i + sum over j <= i of
 * P_ij beta_j y_j, and the next state is e^G_last S + sum of e^(G_last - G_i) k_i beta_i y_i^T (delta-chunk.ts).
 * Everything is products but for blocks of six rows. Columns of values do not mix: a task owns a group of them.
 */
import {
  addRows,
  addScaled,
  advance,
  BETA,
  BETAS,
  CHUNK,
  DOWN,
  ERRORS,
  G,
  isAborted,
  K,
  KEYS,
  layOutRows,
  loadSlices,
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
  RESULTS_AT,
  SCALED_FROM_START,
  sixes,
  STATE,
  STATES,
  SLICE_ROWS,
  storeRows,
  storeTokens,
  substitute,
  TO_END,
  V,
} from './delta-chunk';
import { firstSlice, keepRows, keepState, openStates, stateSlice, storeState } from './delta-states';
import { LARGEST_HEAD, PANEL, rowAddress, SLICE } from './layout';
import { exp } from './scalar';
import { loadElement, loadRow } from './storage';
import { madd } from './vector';

/** What follows the operands in the forward pass. */
@unmanaged
class Forward {
  out: f64;
  outDType: f64;
  state: f64;
}

const KEY_ROWS: usize = OWN; // [panels of d][48][6], times e^(G_last - G_i)
const COLUMNS: usize = KEY_ROWS + CHUNK * (LARGEST_HEAD + PANEL) * 4; // [slices][48][8]: values, then y, then results
const WRITES: usize = COLUMNS + CHUNK * LARGEST_HEAD * 4; // [48][8]: beta y
export const DELTA_BYTES: usize = WRITES + SLICE_ROWS;

/** One group of value columns of one head: outputs and last state. */
export function deltaForward(params: usize, task: i32, scratch: usize): void {
  runChunks(params, task, false, scratch);
}

/** One group of value columns of one head: states and errors for the backward pass. */
export function deltaStates(params: usize, task: i32, scratch: usize): void {
  runChunks(params, task, true, scratch);
}

function runChunks(params: usize, task: i32, keep: bool, scratch: usize): void {
  const p = changetype<Problem>(params);
  const f = changetype<Forward>(params + RESULTS_AT);
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
  const column = first * SLICE;
  const columns = min(past * SLICE, e) - column;
  const rows = sixes(d);
  openStates(p, operand(params, STATE), place, first, past);

  for (let chunk: i32 = 0; chunk < chunks; chunk++) {
    // A task may take seconds.
    if (isAborted()) return;
    const token = chunk * length;
    const count = min(length, n - token);
    const panels = (count + PANEL - 1) / PANEL;
    const padded = panels * PANEL;
    const decayed = openGates(params, batch, head, token, count, scratch);
    openChunk(params, batch, head, token, panels, !keep, scratch);
    layOutRows(operand(params, K), batch, head, token, count, padded, d, scratch + TO_END, scratch + KEY_ROWS, scratch);
    const all = scratch + COLUMNS;
    loadSlices(operand(params, V), batch, head, token, count, padded, column, columns, all, SLICE_ROWS);
    for (let s = first, slice = all; s < past; s++, slice += SLICE_ROWS) {
      const state = stateSlice(p, place, s);
      if (keep) keepState(operand(params, STATES), p, place, chunk, s, state);
      solve(state, slice, d, panels, scratch);
      if (!keep) results(state, slice, d, panels, scratch);
      advance(state, rows, decayed, scratch + KEY_ROWS, scratch + WRITES, padded, scratch);
    }
    const row = <usize>(batch * n + token) * <usize>h + <usize>head;
    if (keep) keepRows(operand(params, ERRORS), place, token, count, first, past, all);
    else storeTokens(all, count, columns, f.out, f.outDType, row, h, e, column);
  }
  for (let s = first; s < past; s++) {
    if (keep) keepState(operand(params, STATES), p, place, chunks, s, stateSlice(p, place, s));
    else storeState(f.state, 0, p, place, s, stateSlice(p, place, s));
  }
}

/** A slice of values to errors, and WRITES from them. */
function solve(state: usize, slice: usize, d: i32, panels: i32, scratch: usize): void {
  for (let panel: i32 = 0; panel < panels; panel++) {
    const at = <usize>panel * PANEL_SLICE;
    const tokens = <usize>panel * PANEL_COLUMNS;
    const errors = slice + at;
    const rows = scratch + NEGATIVE_L + <usize>panel * PANEL_ROWS;
    addScaled(scratch + KEYS + tokens * <usize>d, state, d, errors, scratch + NEGATIVE_FROM_START + tokens);
    if (panel > 0) addRows(rows, scratch + WRITES, panel * PANEL, errors);
    substitute(rows + tokens, errors, scratch + BETAS + tokens, scratch + WRITES + at, DOWN);
  }
}

/** The results of the chunk in eight columns, to `slice`. */
function results(state: usize, slice: usize, d: i32, panels: i32, scratch: usize): void {
  for (let panel: i32 = 0; panel < panels; panel++) {
    const tokens = <usize>panel * PANEL_COLUMNS;
    const to = slice + <usize>panel * PANEL_SLICE;
    storeRows(scratch + P + <usize>panel * PANEL_ROWS, scratch + WRITES, (panel + 1) * PANEL, to);
    addScaled(scratch + QUERIES + tokens * <usize>d, state, d, to, scratch + SCALED_FROM_START + tokens);
  }
}

/** One group of value columns of one head, token by token: outputs and last state. */
export function deltaRecurrent(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const f = changetype<Forward>(params + RESULTS_AT);
  const n = <i32>p.n;
  const h = <i32>p.h;
  const d = <i32>p.d;
  const e = <i32>p.e;
  const place = task / <i32>p.groups;
  const batch = place / h;
  const head = place % h;
  const group = task % <i32>p.groups;
  const first = firstSlice(p, group);
  const past = firstSlice(p, group + 1);
  const q = operand(params, Q);
  const k = operand(params, K);
  const g = operand(params, G);
  const beta = operand(params, BETA);
  const all = scratch + COLUMNS;
  const column = first * SLICE;
  const columns = min(past * SLICE, e) - column;
  openStates(p, operand(params, STATE), place, first, past);
  for (let token: i32 = 0; token < n; token++) {
    if (token % CHUNK == 0 && isAborted()) return;
    const query = loadRow(rowAddress(q, batch, token, head), <usize>q.element, <i32>q.dtype, d, scratch + QUERIES);
    const key = loadRow(rowAddress(k, batch, token, head), <usize>k.element, <i32>k.dtype, d, scratch + KEYS);
    const kept = <f32>exp(<f64>loadElement(rowAddress(g, batch, token, head), <i32>g.dtype));
    const strength = loadElement(rowAddress(beta, batch, token, head), <i32>beta.dtype);
    const row = <usize>(batch * n + token) * <usize>h + <usize>head;
    loadSlices(operand(params, V), batch, head, token, 1, 1, column, columns, all, SLICE_ROWS);
    for (let s = first, slice = all; s < past; s++, slice += SLICE_ROWS) {
      step(stateSlice(p, place, s), d, query, key, slice, kept, strength, <f32>p.scale);
    }
    storeTokens(all, 1, columns, f.out, f.outDType, row, h, e, column);
  }
  for (let s = first; s < past; s++) storeState(f.state, 0, p, place, s, stateSlice(p, place, s));
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
