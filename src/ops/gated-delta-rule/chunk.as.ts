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
import { product, STORE } from '../../runtime/wasm/assembly/product.as';
import { loadElement, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { exp2Clamped, storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { Operand, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import {
  BETAS, BUFFER, FROM_START, KEY_STACK, KEYS, LOGS, NEGATIVE_FROM_START, OWN, PANEL_COLUMNS, PANEL_ROWS, QUERY_STACK, ROW,
  ROW_BUFFER, SCALED_FROM_START, Share, TO_END,
} from './memory.as';
import { Problem } from './params.generated.as';

const LOG2E: f64 = 1.4426950408889634;
/** Log decays below this are as good as it: their exponential is 0 in any arithmetic, and sums keep their bits. */
const LEAST_LOG: f64 = -1000;

/** Brings rows of the chunk's tokens into the cache, of all heads. */
export function fetchTokens(p: Problem, t: Share, x: Operand, columns: i32, scratch: usize): void {
  fetchRows(x, p.h, t.firstHead, t.pastHead, t.token, t.count, columns, scratch + OWN);
}

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

// The micro-kernel as functions: its code is long, and a call costs little beside it. `stack` begins with the first of
// six tokens.
