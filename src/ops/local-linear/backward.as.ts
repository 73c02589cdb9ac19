/**
 * Gradients of local linear attention. With keys x from their mean under the weights p, the ridge l and the solutions r of
 * (cov + l) r = mean - q and u of (cov + l) u = sum of p (g . v) x, where g is the gradient of a row's result:
 *
 *   E = g . v - mean(g . v) - x . u     F = 1 - x . r     dS = p (E F + l u . r)
 *   dq = u + scale sum dS k    dk = scale sum dS q - sum p E r - sum p F u    dv = sum p F g    dl = u . r
 *
 * Rows first, 24 at a time, as forward: u, dq and dl; then tiles of 24 keys, each through all rows that see them.
 */
import { isAborted } from '../../runtime/wasm/assembly/control.as';
import { layOutPanels } from '../../runtime/wasm/assembly/layout.as';
import { exp2Clamped, seenLanes } from '../../runtime/wasm/assembly/vector.as';
import { CHUNK_PANELS, F32, Operand, PANEL, SLICE, TILE } from '../../runtime/cpu/params.generated.as';
import { BackwardParams, BLOCK_PANELS, Problem, QUERY_PANELS, ROW_LENGTH } from './params.generated.as';
import {
  AUX, BLOCK, COMMON, FIRST, INVERSES, LAYOUT, LOG2E, MAXIMA, MEANS, PANEL_ROW, PANEL_ROWS, panelsOf, QUERIES, release,
  RESIDUALS, RESULT, RIDGES, RIGHT, ROW, sliceBytes, SOLUTION, STATE, take, Tile, TILE_BYTES, vectorBytes,
} from './memory.as';
import { columnPanelsAt, findCommon, layOutColumnPanels, panelsAt } from './pack.as';
import { addKeys, addRows, beginSums, dots, endSums, isLive, meanNumbers, storeProduct, sumKeys, timesRows } from './sums.as';
import { loadVector, openTile, rowIndex, storeNumbers, storeVector, weigh } from './tile.as';
import { solve } from './solve.as';

// Behind a tile's working memory, a number of each row:
const ERROR_SHIFTS: usize = TILE_BYTES; // means of g . v, then of g . v - k . u
const FACTOR_SHIFTS: usize = ERROR_SHIFTS + ROW; // means of k . r
const BY_RIDGE: usize = FACTOR_SHIFTS + ROW; // u . r
const CONSTANTS: usize = BY_RIDGE + ROW; // l u . r
const ONES: usize = CONSTANTS + ROW;
export const BACKWARD_BYTES: usize = (ONES + ROW + 63) & ~63;

/** A tile of 24 rows: the gradients of queries and ridges, and what those of keys and values need of each row. */
export function localLinearRows(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  const p = f.problem;
  const tiles = (p.n + TILE - 1) / TILE;
  const slot = take(p);
  openTile(p, task / tiles, tiles - 1 - (task % tiles), slot, scratch);
  backwardTile(f, scratch);
  release(p, slot);
}

function backwardTile(f: BackwardParams, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const p = f.problem;
  const d = p.d;
  const all = panelsOf(p.m);
  const products = t.weights + <usize>all * PANEL_ROWS;
  const factors = products + <usize>all * PANEL_ROWS;
  weigh(p, scratch);
  sumKeys(p, scratch + MEANS, scratch);
  loadVector(f.gradOut, p.e, 1, scratch + RESULT, scratch);
  timesRows(t, panelsAt(p.valuePanels, t.group, all, p.e), p.e, scratch + RESULT, products);
  meanNumbers(t, products, scratch + ERROR_SHIFTS);

  // The right-hand side: the covariance of g . v and the keys.
  beginSums(scratch + RIGHT, d, scratch);
  for (let first: i32 = 0; first < t.panels; first += BLOCK_PANELS) {
    const count = min(BLOCK_PANELS, t.panels - first) * PANEL;
    const from = <usize>(first * PANEL);
    weighDifferences(t, products, from, count, scratch);
    addKeys(p, from, count, scratch + RIGHT, scratch);
  }
  endSums(scratch + RIGHT, d, scratch);
  solve(p, scratch);

  loadVector(f.solution, d, 1, scratch + FIRST, scratch);
  const keys = panelsAt(p.keyPanels, t.group, all, d);
  timesRows(t, keys, d, scratch + SOLUTION, factors);
  subtract(t, products, factors);
  meanNumbers(t, products, scratch + ERROR_SHIFTS);
  timesRows(t, keys, d, scratch + FIRST, factors);
  meanNumbers(t, factors, scratch + FACTOR_SHIFTS);
  dots(scratch + SOLUTION, scratch + FIRST, d, scratch + BY_RIDGE);
  const one = f32x4.splat(1);
  const counts = f32x4.splat(f.stopGradRidge ? 0 : 1);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const at = scratch + lane;
    v128.store(at, f32x4.mul(counts, f32x4.mul(v128.load(at, RIDGES), v128.load(at, BY_RIDGE))), CONSTANTS);
    v128.store(at, one, ONES);
  }
  beginSums(scratch + RESULT, d, scratch);
  for (let first: i32 = 0; first < t.panels; first += BLOCK_PANELS) {
    const count = min(BLOCK_PANELS, t.panels - first) * PANEL;
    const from = <usize>(first * PANEL);
    scoreGradients(t, products, factors, from, count, scratch);
    addKeys(p, from, count, scratch + RESULT, scratch);
  }
  endSums(scratch + RESULT, d, scratch);
  if (f.stopGradRidge) addRidge(d, scratch);
  const scale = f32x4.splat(<f32>p.scale);
  for (let at = scratch; at < scratch + vectorBytes(d); at += 16) {
    v128.store(at, f32x4.add(v128.load(at, SOLUTION), f32x4.mul(scale, v128.load(at, RESULT))), RESULT);
  }
  storeVector(scratch + RESULT, d, scratch + ONES, f.gradQ.address, f.gradQ.dtype, scratch);
  storeVector(scratch + SOLUTION, d, scratch + ONES, f.second.address, F32, scratch);
  storeNumbers(scratch + RESIDUALS, f.residual, F32, scratch);
  if (f.gradRidge.address) storeNumbers(scratch + BY_RIDGE, f.gradRidge.address, f.gradRidge.dtype, scratch);
  for (let r: i32 = 0; r < t.rows; r++) {
    const at = scratch + (<usize>r << 2);
    const row = f.rows + rowIndex(t, r) * <usize>(ROW_LENGTH * 4);
    f32.store(row, f32.load(at, MAXIMA));
    f32.store(row, f32.load(at, ERROR_SHIFTS), 4);
    f32.store(row, f32.load(at, FACTOR_SHIFTS), 8);
    f32.store(row, f32.load(at, CONSTANTS), 12);
    f32.store(row, f32.load(at, INVERSES), 16);
  }
}

/** A block's weights times the products less their mean. */
function weighDifferences(t: Tile, products: usize, from: usize, count: i32, scratch: usize): void {
  const weights = t.weights + from * ROW;
  products += from * ROW;
  const bytes = <usize>count * ROW;
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    if (!isLive(t, lane)) continue;
    const mean = v128.load(scratch + ERROR_SHIFTS + lane);
    for (let at = lane; at < bytes; at += ROW) {
      v128.store(scratch + BLOCK + at, f32x4.mul(v128.load(weights + at), f32x4.sub(v128.load(products + at), mean)));
    }
  }
}

/** With the ridge taken as a constant dS adds up to -l u . r, not to 0: as much of the keys' means. */
function addRidge(d: i32, scratch: usize): void {
  const step = sliceBytes(d);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const sum = f32x4.neg(f32x4.mul(v128.load(scratch + RIDGES + lane), v128.load(scratch + BY_RIDGE + lane)));
    const slice = scratch + (lane >> 5) * step + (lane & 16);
    let common = scratch + COMMON;
    for (let at = slice, end = slice + (<usize>d << 5); at < end; at += 32, common += 4) {
      const mean = f32x4.add(v128.load(at, MEANS), v128.load32_splat(common));
      v128.store(at, f32x4.add(v128.load(at, RESULT), f32x4.mul(sum, mean)), RESULT);
    }
  }
}

/** Numbers of all pairs less others. */
function subtract(t: Tile, from: usize, others: usize): void {
  const bytes = <usize>t.panels * PANEL_ROWS;
  for (let at: usize = 0; at < bytes; at += 16) v128.store(from + at, f32x4.sub(v128.load(from + at), v128.load(others + at)));
}

/** A block's p (E F + l u . r), at BLOCK. */
function scoreGradients(t: Tile, products: usize, factors: usize, from: usize, count: i32, scratch: usize): void {
  const weights = t.weights + from * ROW;
  products += from * ROW;
  factors += from * ROW;
  const bytes = <usize>count * ROW;
  const one = f32x4.splat(1);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    if (!isLive(t, lane)) continue;
    const errorShift = v128.load(scratch + ERROR_SHIFTS + lane);
    const factorShift = v128.load(scratch + FACTOR_SHIFTS + lane);
    const constant = v128.load(scratch + CONSTANTS + lane);
    for (let at = lane; at < bytes; at += ROW) {
      const error = f32x4.sub(v128.load(products + at), errorShift);
      const factor = f32x4.add(one, f32x4.sub(factorShift, v128.load(factors + at)));
      const gradient = f32x4.add(f32x4.mul(error, factor), constant);
      v128.store(scratch + BLOCK + at, f32x4.mul(v128.load(weights + at), gradient));
    }
  }
}

/** Queries, solutions and gradients of one chunk of the rows of one head. */
export function packRows(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  const p = f.problem;
  const panels = panelsOf(p.n);
  const chunks = (panels + CHUNK_PANELS - 1) / CHUNK_PANELS;
  const place = task / chunks;
  const first = (task % chunks) * CHUNK_PANELS;
  packBoth(p, p.q, p.d, place, first, f.queryPanels, f.queryColumnPanels, scratch);
  // As `scaleQueries` does, so that the scores are the same to the bit.
  const panelBytes = <usize>(p.d * PANEL * 4);
  let query = panelsAt(f.queryPanels, place, panels, p.d) + <usize>first * panelBytes;
  const factor = f32x4.splat(<f32>(p.scale * LOG2E));
  for (const end = query + <usize>min(CHUNK_PANELS, panels - first) * panelBytes; query < end; query += 8) {
    v128.store64_lane(query, f32x4.mul(factor, v128.load64_zero(query)), 0);
  }
  packBoth(p, f.solution, p.d, place, first, f.firstPanels, f.firstColumnPanels, scratch);
  packBoth(p, f.second, p.d, place, first, f.secondPanels, f.secondColumnPanels, scratch);
  packBoth(p, f.gradOut, p.e, place, first, f.gradientPanels, f.gradientColumnPanels, scratch);
}

function packBoth(p: Problem, x: Operand, columns: i32, place: i32, first: i32, toPanels: usize, toColumnPanels: usize, scratch: usize): void {
  const n = p.n;
  const h = p.h;
  const panels = panelsOf(n);
  const past = min(first + CHUNK_PANELS, panels);
  const at = panelsAt(toPanels, place, panels, columns);
  layOutPanels(x, place / h, place % h, 0, n, columns, first, past, at, scratch + LAYOUT);
  layOutColumnPanels(x, place / h, place % h, n, columns, first, past, columnPanelsAt(toColumnPanels, place, panels, columns), panels, scratch);
}

// Vectors of a tile of keys, where those of rows are else,
const KEYS: usize = QUERIES;
const VALUES: usize = FIRST;
const GRAD_K: usize = RIGHT;
const GRAD_V: usize = MEANS;
// and of a block of rows and the tile's keys, numbers of pairs [rows][24]:
const SCORES: usize = BLOCK; // then -scale dS
const ERRORS: usize = SCORES + <usize>QUERY_PANELS * PANEL_ROWS; // g . v, then p E
const BY_SECOND: usize = ERRORS + <usize>QUERY_PANELS * PANEL_ROWS; // k . u
const FACTORS: usize = BY_SECOND + <usize>QUERY_PANELS * PANEL_ROWS; // k . r, then p F

/** The gradients of a tile of 24 keys and values. */
export function localLinearKeys(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  const p = f.problem;
  const t = changetype<Tile>(scratch + STATE);
  const n = p.n;
  const m = p.m;
  const d = p.d;
  const e = p.e;
  const h = p.h;
  const tiles = (m + TILE - 1) / TILE;
  const group = task / tiles;
  t.batch = group / p.g;
  t.head = group % p.g;
  t.first = (task % tiles) * TILE;
  t.rows = min(TILE, m - t.first);
  t.length = m;
  t.heads = p.g;
  t.live = (1 << ((t.rows + SLICE - 1) / SLICE)) - 1;
  loadVector(p.k, d, 1, scratch + KEYS, scratch);
  findCommon(p, t.batch, t.head, scratch + COMMON, scratch);
  lessCommon(d, scratch);
  loadVector(p.v, e, 1, scratch + VALUES, scratch);
  memory.fill(scratch + GRAD_K, 0, vectorBytes(d));
  memory.fill(scratch + GRAD_V, 0, vectorBytes(e));

  const panels = panelsOf(n);
  const panelBytes = <usize>(panels * PANEL) * PANEL_ROW;
  const shared = h / p.g;
  const firstPanel = p.causal ? max(0, t.first - (m - n)) / PANEL : 0;
  const place = t.batch * h + t.head * shared;
  for (let own = place; own < place + shared; own++) {
    for (let first = firstPanel; first < panels; first += QUERY_PANELS) {
      if (isAborted()) return;
      const count = min(QUERY_PANELS, panels - first);
      const from = <usize>(first * PANEL) * PANEL_ROW;
      timesPanels(t, panelsAt(f.queryPanels, own, panels, d), first, count, d, KEYS, SCORES, scratch);
      timesPanels(t, panelsAt(f.gradientPanels, own, panels, e), first, count, e, VALUES, ERRORS, scratch);
      timesPanels(t, panelsAt(f.secondPanels, own, panels, d), first, count, d, KEYS, BY_SECOND, scratch);
      timesPanels(t, panelsAt(f.firstPanels, own, panels, d), first, count, d, KEYS, FACTORS, scratch);
      pairGradients(f, t, own % h, first * PANEL, count * PANEL, scratch);
      addPairs(t, SCORES, columnPanelsAt(f.queryColumnPanels, own, panels, d) + from, panelBytes, count, d, GRAD_K, scratch);
      addPairs(t, ERRORS, columnPanelsAt(f.firstColumnPanels, own, panels, d) + from, panelBytes, count, d, GRAD_K, scratch);
      addPairs(t, FACTORS, columnPanelsAt(f.secondColumnPanels, own, panels, d) + from, panelBytes, count, d, GRAD_K, scratch);
      addPairs(t, FACTORS, columnPanelsAt(f.gradientColumnPanels, own, panels, e) + from, panelBytes, count, e, GRAD_V, scratch);
    }
  }
  for (let at: usize = 0; at < ROW; at += 16) {
    v128.store(scratch + AUX + at, f32x4.splat(-1));
    v128.store(scratch + ONES + at, f32x4.splat(1));
  }
  storeVector(scratch + GRAD_K, d, scratch + AUX, f.gradK.address, f.gradK.dtype, scratch);
  storeVector(scratch + GRAD_V, e, scratch + ONES, f.gradV.address, f.gradV.dtype, scratch);
}

/** Keys less what they have in common, as they are packed. */
function lessCommon(d: i32, scratch: usize): void {
  const step = sliceBytes(d);
  for (let s: i32 = 0; s < TILE / SLICE; s++) {
    let common = scratch + COMMON;
    for (let at = scratch + KEYS + <usize>s * step, end = at + (<usize>d << 5); at < end; at += 32, common += 4) {
      const x = v128.load32_splat(common);
      v128.store(at, f32x4.sub(v128.load(at), x));
      v128.store(at, f32x4.sub(v128.load(at, 16), x), 16);
    }
  }
}

function timesPanels(t: Tile, from: usize, first: i32, count: i32, columns: i32, vector: usize, pairs: usize, scratch: usize): void {
  const panelBytes = <usize>(columns * PANEL * 4);
  from += <usize>first * panelBytes;
  pairs += scratch;
  for (let panel: i32 = 0; panel < count; panel++, from += panelBytes, pairs += PANEL_ROWS) {
    for (let s: i32 = 0; s < TILE / SLICE; s++) {
      if (!((t.live >> s) & 1)) continue;
      storeProduct(from, scratch + vector + <usize>s * sliceBytes(columns), columns, pairs + (<usize>s << 5));
    }
  }
}

function addPairs(t: Tile, pairs: usize, from: usize, panelBytes: usize, count: i32, columns: i32, to: usize, scratch: usize): void {
  addRows(scratch + pairs, from, panelBytes, count * PANEL, columns, scratch + to, t.live);
}

/** From products of rows and a tile of keys to what keys and values take of the rows: -scale dS, p E and p F. */
function pairGradients(f: BackwardParams, t: Tile, head: i32, first: i32, count: i32, scratch: usize): void {
  const p = f.problem;
  const n = p.n;
  const h = <usize>p.h;
  const causal = p.causal;
  const before = p.m - n - t.first + 1;
  const scale = f32x4.splat(<f32>-p.scale);
  const one = f32x4.splat(1);
  const rows = f.rows + ((<usize>t.batch * <usize>n + <usize>first) * h + <usize>head) * <usize>(ROW_LENGTH * 4);
  for (let r: i32 = 0; r < count; r++) {
    const own = rows + <usize>r * h * <usize>(ROW_LENGTH * 4);
    // A row sees this many of the keys, none if it is not there.
    const seen = first + r >= n ? 0 : causal ? max(0, min(TILE, first + r + before)) : TILE;
    const bits = (1 << seen) - 1;
    if (bits == 0) {
      const at = scratch + <usize>r * ROW;
      memory.fill(at + SCORES, 0, ROW);
      memory.fill(at + ERRORS, 0, ROW);
      memory.fill(at + FACTORS, 0, ROW);
      continue;
    }
    const most = v128.load32_splat(own);
    const largest = v128.load32_splat(own, 16);
    const errorShift = v128.load32_splat(own, 4);
    const factorShift = v128.load32_splat(own, 8);
    const constant = v128.load32_splat(own, 12);
    let at = scratch + <usize>r * ROW;
    for (let key: i32 = 0; key < TILE; key += 4, at += 16) {
      const share = exp2Clamped(f32x4.sub(v128.load(at, SCORES), most));
      const weight = v128.and(f32x4.mul(largest, share), seenLanes(bits >> key));
      const error = f32x4.sub(f32x4.sub(v128.load(at, ERRORS), v128.load(at, BY_SECOND)), errorShift);
      const factor = f32x4.mul(weight, f32x4.add(one, f32x4.sub(factorShift, v128.load(at, FACTORS))));
      const gradient = f32x4.add(f32x4.mul(factor, error), f32x4.mul(weight, constant));
      v128.store(at, f32x4.mul(scale, gradient), SCORES);
      v128.store(at, f32x4.mul(weight, error), ERRORS);
      v128.store(at, factor, FACTORS);
    }
  }
}
