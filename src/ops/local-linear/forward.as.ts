/** Local linear attention of a tile of rows: weights, means, systems, and the sum of the values. */
import { F32, PANEL, TILE } from '../../runtime/wasm/params.generated.as';
import { exceptionalTile } from './exceptional.as';
import { BLOCK_PANELS, ForwardParams } from './params.generated.as';
import {
  addRows,
  AUX,
  BLOCK,
  dots,
  giveBack,
  INVERSES,
  ITERATIONS,
  MEANS,
  meansLessQueries,
  openTile,
  panelsOf,
  RESIDUALS,
  RESULT,
  ROW,
  SHIFTS,
  SIX,
  sixesAt,
  sliceBytes,
  SOLUTION,
  solve,
  STATE,
  storeNumbers,
  storeVector,
  sumKeys,
  take,
  Tile,
  vectorBytes,
  weigh,
  weighProducts,
} from './tile.as';

export function localLinear(params: usize, task: i32, scratch: usize): void {
  const f = changetype<ForwardParams>(params);
  const p = f.problem;
  const tiles = (p.n + TILE - 1) / TILE;
  const slot = take(p);
  // Long ones first, so that threads end together.
  if (openTile(p, task / tiles, tiles - 1 - (task % tiles), slot, scratch)) forwardTile(f, scratch);
  else exceptionalTile(f, scratch);
  giveBack(p, slot);
}

function forwardTile(f: ForwardParams, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const p = f.problem;
  const d = p.d;
  const e = p.e;
  weigh(p, scratch + AUX, scratch);
  storeNumbers(scratch + AUX, f.lse, F32, scratch);
  sumKeys(p, scratch + MEANS, scratch);
  meansLessQueries(p, scratch);
  solve(p, scratch);

  // weight (1 - (key - mean) . solution), negated.
  dots(scratch + MEANS, scratch + SOLUTION, d, scratch + SHIFTS);
  const one = f32x4.splat(1);
  for (let at = scratch + SHIFTS; at < scratch + SHIFTS + ROW; at += 16) v128.store(at, f32x4.add(v128.load(at), one));
  const all = panelsOf(p.m);
  const values = sixesAt(p.valueSixes, t.group, all, e);
  memory.fill(scratch + RESULT, 0, vectorBytes(e));
  for (let first: i32 = 0; first < t.panels; first += BLOCK_PANELS) {
    const count = min(BLOCK_PANELS, t.panels - first);
    weighProducts(p, first, count, scratch + SOLUTION, scratch);
    const from = values + <usize>(first * PANEL) * SIX;
    addRows(scratch + BLOCK, from, <usize>(all * PANEL) * SIX, count * PANEL, e, scratch + RESULT, t.live);
  }
  for (let at: usize = 0; at < ROW; at += 16) {
    v128.store(scratch + AUX + at, f32x4.sub(f32x4.splat(0), v128.load(scratch + INVERSES + at)));
    v128.store(scratch + SHIFTS + at, one);
  }
  storeVector(scratch + RESULT, e, scratch + AUX, f.out.address, f.out.dtype, scratch);
  storeVector(scratch + SOLUTION, d, scratch + SHIFTS, f.solution, F32, scratch);
  storeNumbers(scratch + RESIDUALS, f.residual, F32, scratch);
  storeNumbers(scratch + ITERATIONS, f.iterations, F32, scratch);
}
