/** a [r,k] times b [k,c]: both packed once for the micro-kernel, then computed in tiles of 48 rows by 64 columns. */
import { ADD, product, STORE } from '../../runtime/wasm/assembly/product.as';
import { storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { PANEL, SLICE } from '../../runtime/wasm/params.generated.as';
import { MatmulParams, TILE_PANELS, TILE_SLICES } from './params.generated.as';

/** Steps of k at a time: a panel and a slice of this depth stay in the first-level cache. */
const DEPTH: i32 = 512;

/** Panel `task` of a, to [k][6], zero past the last row. */
export function packPanels(params: usize, task: i32, scratch: usize): void {
  const p = changetype<MatmulParams>(params);
  const depth = <usize>p.depth;
  packLanes(
    p.a.address,
    p.a.row << 2,
    p.a.column << 2,
    task * PANEL,
    min(PANEL, p.rows - task * PANEL),
    PANEL,
    depth,
    p.packedA + <usize>task * depth * PANEL * 4,
  );
}

/** Slice `task` of b, to [k][8], zero past the last column. */
export function packSlices(params: usize, task: i32, scratch: usize): void {
  const p = changetype<MatmulParams>(params);
  const depth = <usize>p.depth;
  const to = p.packedB + <usize>task * depth * SLICE * 4;
  const count = min(SLICE, p.columns - task * SLICE);
  if (p.b.column == 1 && count == SLICE) {
    let row = p.b.address + <usize>(task * SLICE * 4);
    for (let at = to, end = to + depth * 32; at < end; at += 32, row += p.b.row << 2) {
      v128.store(at, v128.load(row));
      v128.store(at, v128.load(row, 16), 16);
    }
  } else packLanes(p.b.address, p.b.column << 2, p.b.row << 2, task * SLICE, count, SLICE, depth, to);
}

/** `count` lanes, `laneStep` bytes apart, `depth` elements each, interleaved in groups of `lanes`. */
function packLanes(
  source: usize,
  laneStep: usize,
  step: usize,
  first: i32,
  count: i32,
  lanes: usize,
  depth: usize,
  to: usize,
): void {
  if (count < <i32>lanes) memory.fill(to, 0, depth * lanes * 4);
  source += <usize>first * laneStep;
  let lane: usize = 0;
  for (; lane + 4 <= <usize>count && step == 4; lane += 4) {
    const r0 = source + lane * laneStep;
    const r1 = r0 + laneStep;
    const r2 = r1 + laneStep;
    const r3 = r2 + laneStep;
    let c: usize = 0;
    for (; c + 4 <= depth; c += 4) {
      const at = c << 2;
      const lanesAt = to + (lane << 2) + c * lanes * 4;
      storeTransposed(v128.load(r0 + at), v128.load(r1 + at), v128.load(r2 + at), v128.load(r3 + at), lanesAt, lanes * 4);
    }
    for (; c < depth; c++) {
      const lanesAt = to + (lane << 2) + c * lanes * 4;
      f32.store(lanesAt, f32.load(r0 + (c << 2)));
      f32.store(lanesAt, f32.load(r1 + (c << 2)), 4);
      f32.store(lanesAt, f32.load(r2 + (c << 2)), 8);
      f32.store(lanesAt, f32.load(r3 + (c << 2)), 12);
    }
  }
  for (; lane < <usize>count; lane++) {
    let at = source + lane * laneStep;
    for (let c: usize = 0; c < depth; c++, at += step) f32.store(to + (lane << 2) + c * lanes * 4, f32.load(at));
  }
}

const TILE_BYTES: usize = <usize>(PANEL * SLICE * 4);
export const SCRATCH_BYTES: usize = <usize>(TILE_PANELS * TILE_SLICES) * TILE_BYTES;

export function matmul(params: usize, task: i32, scratch: usize): void {
  const p = changetype<MatmulParams>(params);
  const rows = p.rows;
  const depth = p.depth;
  const columns = p.columns;
  const panels = (rows + PANEL - 1) / PANEL;
  const slices = (columns + SLICE - 1) / SLICE;
  const across = (slices + TILE_SLICES - 1) / TILE_SLICES;
  const firstPanel = (task / across) * TILE_PANELS;
  const firstSlice = (task % across) * TILE_SLICES;
  const lastPanel = min(firstPanel + TILE_PANELS, panels);
  const lastSlice = min(firstSlice + TILE_SLICES, slices);

  // The tile is summed in scratch: [panels][slices][6][8].
  for (let k: i32 = 0; k < depth; k += DEPTH) {
    const steps = min(DEPTH, depth - k);
    for (let slice = firstSlice; slice < lastSlice; slice++) {
      const b = p.packedB + ((<usize>slice * depth + k) << 5);
      for (let panel = firstPanel; panel < lastPanel; panel++) {
        const a = p.packedA + (<usize>panel * depth + k) * PANEL * 4;
        const c = scratch + <usize>((panel - firstPanel) * TILE_SLICES + slice - firstSlice) * TILE_BYTES;
        if (k == 0) product(a, PANEL * 4, false, b, steps, c, 32, STORE, 0);
        else product(a, PANEL * 4, false, b, steps, c, 32, ADD, 0);
      }
    }
  }
  for (let panel = firstPanel; panel < lastPanel; panel++) {
    for (let r: i32 = 0; r < min(PANEL, rows - panel * PANEL); r++) {
      let out = p.out + (<usize>(panel * PANEL + r) * columns + firstSlice * SLICE) * 4;
      let row = scratch + <usize>((panel - firstPanel) * TILE_SLICES) * TILE_BYTES + (r << 5);
      for (let slice = firstSlice; slice < lastSlice; slice++, row += TILE_BYTES, out += 32) {
        if (columns - slice * SLICE >= SLICE) {
          v128.store(out, v128.load(row));
          v128.store(out, v128.load(row, 16), 16);
        } else memory.copy(out, row, <usize>(columns - slice * SLICE) << 2);
      }
    }
  }
}
