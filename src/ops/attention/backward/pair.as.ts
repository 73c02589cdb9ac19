/** Queries and gradients of a pair of tiles as the products take them, and what the weights need of each query. */
import { queryIn } from '../blocks.as';
import { BackwardParams, Problem } from '../params.generated.as';
import { MODIFIER_BYTES, openModifier } from '../score/modifier.as';
import { modifierOf } from './block.as';
import { DELTAS, GRADIENT_ROWS, GRADIENTS, hookOf, LAYOUT, LSES, PAIR, Part, QUERIES, QUERY_ROWS, ROW, slicesOf } from './memory.as';
import { layOutSlices, layOutTile, PANEL_SLICE_BYTES, rowAddress } from '../../../runtime/wasm/assembly/layout.as';
import { LARGEST_HEAD, Operand, PANEL, SLICE, TILE } from '../../../runtime/cpu/params.generated.as';
import { loadRow } from '../../../runtime/wasm/assembly/storage.as';
import { dot } from '../../../runtime/wasm/assembly/vector.as';

const LOG2E: f32 = 1.4426950408889634;
/** Less than any score by more than the largest exponent: no weight. */
const NO_WEIGHT: f32 = 1e30;

export function openPair<H>(f: BackwardParams, t: Part, scratch: usize): void {
  const p = f.problem;
  const program = changetype<H>(0).hasScores ? p.program : 0;
  const tiles = min(2, p.tiles - t.tile);
  const hook = hookOf<H>(scratch);
  layOutPair(p, t, tiles, p.q, p.d, <f32>p.scale * (program ? 1 : LOG2E), scratch + QUERIES, scratch + QUERY_ROWS, scratch);
  layOutPair(p, t, tiles, f.gradOut, p.e, 1, scratch + GRADIENTS, scratch + GRADIENT_ROWS, scratch);
  hook.openPair(f, t, tiles, scratch);
  for (let half: i32 = 0; program && half < tiles; half++) {
    const modifier = modifierOf(half, scratch);
    const first = (t.tile + half) * TILE;
    openModifier(p, program, p.tables, t.batch, t.head, first, modifier);
    openModifier(p, p.derivative, p.derivativeTables, t.batch, t.head, first, modifier + MODIFIER_BYTES);
  }
  for (let r: i32 = 0; r < PAIR; r++) {
    const query = r < tiles * TILE ? queryIn(p, t.tile * TILE + r) : -1;
    const row = <usize>r << 2;
    const at = (<usize>t.batch * <usize>p.n + <usize>query) * <usize>p.h + <usize>t.head;
    let lse = NO_WEIGHT;
    let delta: f32 = 0;
    if (query >= 0) {
      const own = f32.load(f.lse + (at << 2));
      if (own != -Infinity) lse = own * LOG2E;
      delta = timesGradient(f, f.out, t, query, scratch);
      if (f.gradLse != 0) delta -= f32.load(f.gradLse + (at << 2));
    }
    f32.store(scratch + row, lse, LSES);
    f32.store(scratch + row, delta, DELTAS);
    hook.openRow(f, t, row, query, at, delta, scratch);
  }
}

/** Rows of a pair of tiles, as [6 slices][columns][8 rows], times `factor`, and as [slices of columns][48 rows][8]. */
export function layOutPair(
  p: Problem,
  t: Part,
  tiles: i32,
  x: Operand,
  columns: i32,
  factor: f32,
  slices: usize,
  rows: usize,
  scratch: usize,
): void {
  const order = p.queries;
  const n = p.n;
  const layout = scratch + LAYOUT;
  if (tiles == 1) {
    memory.fill(slices, 0, <usize>columns * ROW);
    memory.fill(rows, 0, <usize>(slicesOf(columns) * SLICE) * ROW);
  }
  for (let half: i32 = 0; half < tiles; half++) {
    const first = (t.tile + half) * TILE;
    layOutTile(x, t.batch, t.head, order, n, columns, first, TILE, factor, slices + <usize>(half * TILE * columns * 4), layout);
  }
  const slot = t.tile * TILE;
  const panel = slot / PANEL;
  const past = panel + (tiles * TILE) / PANEL;
  layOutSlices(x, t.batch, t.head, order, n, columns, panel, past, rows - (<usize>slot << 5), 8 * ROW, PANEL_SLICE_BYTES, layout);
}

/** A query's row of x [b, n, h, e] times its gradient of out. */
export function timesGradient(f: BackwardParams, x: Operand, t: Part, query: i32, scratch: usize): f32 {
  const e = f.problem.e;
  const gradOut = f.gradOut;
  const a = loadRow(rowAddress(x, t.batch, query, t.head), x.element, x.dtype, e, scratch + LAYOUT);
  const from = rowAddress(gradOut, t.batch, query, t.head);
  return dot(a, loadRow(from, gradOut.element, gradOut.dtype, e, scratch + LAYOUT + LARGEST_HEAD * 4), <usize>e << 2);
}
