/** Local linear attention of a tile of rows: weights, means, systems, and the sum of the values. */
import { F32, PANEL, TILE } from '../../runtime/cpu/params.generated.as';
import { exceptionalRow, exceptionalTile } from './exceptional.as';
import { BLOCK_PANELS, ForwardParams } from './params.generated.as';
import {
  AUX, BLOCK, ITERATIONS, MEANS, PANEL_ROW, PANEL_ROWS, panelsOf, release, RESIDUALS, RESULT, ROW, SHIFTS, sliceBytes, SOLUTION,
  STATE, take, Tile, vectorBytes,
} from './memory.as';
import { columnPanelsAt, panelsAt } from './pack.as';
import { addRows, isLive, meanNumbers, meansLessQueries, sumKeys, timesRows } from './sums.as';
import { logSumExps, openTile, storeNumbers, storeVector, weigh } from './tile.as';
import { solve } from './solve.as';

export function localLinear(params: usize, task: i32, scratch: usize): void {
  const f = changetype<ForwardParams>(params);
  const p = f.problem;
  const tiles = (p.n + TILE - 1) / TILE;
  const slot = take(p);
  // Long ones first, so that threads end together.
  if (openTile(p, task / tiles, tiles - 1 - (task % tiles), slot, scratch)) forwardTile(f, scratch);
  else exceptionalTile(f, scratch);
  release(p, slot);
}

function forwardTile(f: ForwardParams, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const p = f.problem;
  const d = p.d;
  const e = p.e;
  weigh(p, scratch);
  logSumExps(p, scratch + AUX, scratch);
  storeNumbers(scratch + AUX, f.lse, F32, scratch);
  sumKeys(p, scratch + MEANS, scratch);
  meansLessQueries(p, scratch);
  solve(p, scratch);

  const all = panelsOf(p.m);
  const products = t.weights + <usize>all * PANEL_ROWS;
  timesRows(t, panelsAt(p.keyPanels, t.group, all, d), d, scratch + SOLUTION, products);
  meanNumbers(t, products, scratch + SHIFTS);
  const values = columnPanelsAt(p.valueColumnPanels, t.group, all, e);
  memory.fill(scratch + RESULT, 0, vectorBytes(e));
  for (let first: i32 = 0; first < t.panels; first += BLOCK_PANELS) {
    const count = min(BLOCK_PANELS, t.panels - first) * PANEL;
    const from = <usize>(first * PANEL);
    weighFactors(t, products, from, count, scratch);
    addRows(scratch + BLOCK, values + from * PANEL_ROW, <usize>(all * PANEL) * PANEL_ROW, count, e, scratch + RESULT, t.live);
  }
  for (let at: usize = 0; at < ROW; at += 16) v128.store(scratch + AUX + at, f32x4.splat(1));
  storeVector(scratch + RESULT, e, scratch + AUX, f.out.address, f.out.dtype, scratch);
  storeVector(scratch + SOLUTION, d, scratch + AUX, f.solution, F32, scratch);
  storeNumbers(scratch + RESIDUALS, f.residual, F32, scratch);
  storeNumbers(scratch + ITERATIONS, f.iterations, F32, scratch);
  for (let r: i32 = 0; r < t.rows; r++) {
    if (f32.load(scratch + RESIDUALS + (r << 2)) == Infinity) exceptionalRow(f, t, r, scratch);
  }
}

/** A block's weights times 1 - (key - mean) . solution, at BLOCK. */
function weighFactors(t: Tile, products: usize, from: usize, count: i32, scratch: usize): void {
  const weights = t.weights + from * ROW;
  products += from * ROW;
  const bytes = <usize>count * ROW;
  const one = f32x4.splat(1);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    if (!isLive(t, lane)) continue;
    const shift = v128.load(scratch + SHIFTS + lane);
    for (let at = lane; at < bytes; at += ROW) {
      const factor = f32x4.add(one, f32x4.sub(shift, v128.load(products + at)));
      v128.store(scratch + BLOCK + at, f32x4.mul(v128.load(weights + at), factor));
    }
  }
}
