/**
 * Gradients of softmax attention, recomputing the weights from the log-sum-exps: O(n) memory, five products a pair.
 *
 * A task owns a part of the keys of one key/value head. It goes through the queries of every query head that shares
 * these keys, 48 at a time, and through blocks of keys: weights [keys][48 queries]; the values' gradient from them; the
 * scores' gradient in their place; from that the keys' and the queries'. Nobody else adds to the gradients of its keys.
 * Those of the queries come from every part of the keys: each part has its own sums, which `backwardReduce` adds up in
 * order, leaving out pairs of tiles that see none of its keys. The parts depend on the shapes only, so the bits do not depend on
 * the number of threads. Where the sums of all parts are large, parts go in rounds.
 */
import { keyIn, queryIn } from '../blocks.as';
import { BackwardParams, Problem } from '../params.generated.as';
import { hookOf, LAYOUT, Part, PART, ROW, SEGMENTS, slicesOf, SUMS, WALK, BLOCK_PANELS } from './memory.as';
import { openPair } from './pair.as';
import { PairWalk, startPair, takePairs } from './walk.as';
import { isAborted } from '../../../runtime/wasm/assembly/control.as';
import { layOutPanels, layOutSlices, PANEL_SLICE_BYTES } from '../../../runtime/wasm/assembly/layout.as';
import { Contiguous, PANEL, SLICE, TILE } from '../../../runtime/cpu/params.generated.as';
import { bytesOf, storeRow } from '../../../runtime/wasm/assembly/storage.as';

/** One part of the keys of one head; or, where tables have gradients, one group of such parts, in order. */
export function addParts<H>(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  if (!changetype<H>(0).hasScores || f.placeCount == 0) {
    addPart<H>(f, f.firstTask + task, 0, scratch);
    return;
  }
  const p = f.problem;
  const bytes = <usize>f.elements << 3;
  const sums = f.sumsOfTables + <usize>task * bytes;
  memory.fill(sums, 0, bytes);
  for (let part = task; part < p.b * p.g * f.parts; part += f.groups) addPart<H>(f, part, sums, scratch);
}

/** The gradients of one part of the keys of one head, and what they contribute to those of the queries and tables. */
function addPart<H>(f: BackwardParams, task: i32, sumsOfTables: usize, scratch: usize): void {
  const p = f.problem;
  const d = p.d;
  const tiles = p.tiles;
  const bg = task / f.parts;
  const hook = hookOf<H>(scratch);
  const t = changetype<Part>(scratch + PART);
  const together = hook.together(f);
  const most = (BLOCK_PANELS / together) * together;
  openPart(f, t, task, together, scratch);
  t.sumsOfTables = sumsOfTables;

  const heads = p.h / p.g;
  const firstHead = (bg % p.g) * heads;
  for (t.head = firstHead; t.head < firstHead + heads; t.head++) {
    const place = t.batch * p.h + t.head;
    const shared = (task - f.firstTask) * heads + t.head - firstHead;
    const sums = sumsAt(p, shared, 0);
    const met = metAt(f, shared);
    for (t.tile = 0; t.tile < tiles; t.tile += 2) {
      // A part may take seconds.
      if (isAborted()) return;
      const walk = changetype<PairWalk>(scratch + WALK);
      startPair(walk, p, place, t.tile, t.first, t.past);
      let segments = takePairs(walk, p, most, scratch + SEGMENTS);
      store<u8>(met + <usize>(t.tile / 2), segments > 0);
      if (segments == 0) continue;
      memory.fill(scratch + SUMS, 0, <usize>(slicesOf(d) * SLICE) * ROW);
      hook.startPair(d);
      openPair<H>(f, t, scratch);
      while (segments > 0) {
        hook.addBlock(f, t, segments, scratch);
        segments = takePairs(walk, p, most, scratch + SEGMENTS);
      }
      const rows = min(2, tiles - t.tile) * TILE;
      const own = sums + (<usize>(t.tile * TILE * d) << 2);
      storeSums(d, rows, scratch + SUMS, f.sumsQ + own, scratch);
      hook.storePair(f, own, rows, scratch);
    }
  }
  t.head = firstHead;
  storeKeys(p, t, d, t.sumsK, hook.factor(f), f.gradK, scratch);
  storeKeys(p, t, p.e, t.sumsV, 1, f.gradV, scratch);
}

/** Finds the part of a task, lays its keys and values out, and begins their sums. Addresses are those of panel 0, were it there. */
function openPart(f: BackwardParams, t: Part, task: i32, together: i32, scratch: usize): void {
  const p = f.problem;
  const d = p.d;
  const e = p.e;
  const parts = f.parts;
  const bg = task / parts;
  const part = task % parts;
  const groups = <i64>((p.panels + together - 1) / together);
  const first = <i32>((groups * part) / parts) * together;
  const past = min(p.panels, <i32>((groups * (part + 1)) / parts) * together);
  const sliceBytes = <usize>f.partPanels * PANEL_SLICE_BYTES;
  const slot = task - f.firstTask;
  const before = <usize>first * PANEL_SLICE_BYTES;
  t.batch = bg / p.g;
  t.first = first;
  t.past = past;
  t.sliceBytes = sliceBytes;
  t.keyPanels = panelsAt(f.keyPanels, slot * f.partPanels - first, d);
  t.valuePanels = panelsAt(f.valuePanels, slot * f.partPanels - first, e);
  t.keySlices = f.keySlices + <usize>(slot * slicesOf(d)) * sliceBytes - before;
  t.sumsK = f.sumsK + <usize>(slot * slicesOf(d)) * sliceBytes - before;
  t.sumsV = f.sumsV + <usize>(slot * slicesOf(e)) * sliceBytes - before;
  clear(t.sumsK, sliceBytes, slicesOf(d), first, past);
  clear(t.sumsV, sliceBytes, slicesOf(e), first, past);

  const order = p.keys;
  const layout = scratch + LAYOUT;
  const k = p.k;
  const head = bg % p.g;
  layOutPanels(k, t.batch, head, order, p.m, d, first, past, t.keyPanels, layout);
  layOutSlices(k, t.batch, head, order, p.m, d, first, past, t.keySlices, sliceBytes, PANEL_SLICE_BYTES, layout);
  layOutPanels(p.v, t.batch, head, order, p.m, e, first, past, t.valuePanels, layout);
}

/** The address of a panel, where panel 0 lies at `base`. */
@inline
function panelsAt(base: usize, panel: i32, columns: i32): usize {
  return base + <usize>panel * <usize>(columns * PANEL * 4);
}

/** Bytes before the sums of a tile, of heads counted through the tasks of a round. */
@inline
function sumsAt(p: Problem, shared: i32, tile: i32): usize {
  return (<usize>shared * <usize>p.tiles + <usize>tile) * <usize>(TILE * p.d) << 2;
}

/** Where it is noted which pairs of tiles of such a head see keys of the part. */
@inline
function metAt(f: BackwardParams, shared: i32): usize {
  return f.met + <usize>shared * <usize>((f.problem.tiles + 1) / 2);
}

function clear(sums: usize, sliceBytes: usize, slices: i32, first: i32, past: i32): void {
  const bytes = <usize>((past - first) * PANEL) << 5;
  sums += <usize>(first * PANEL) << 5;
  for (let s: i32 = 0; s < slices; s++, sums += sliceBytes) memory.fill(sums, 0, bytes);
}

/** The sums of a pair of tiles, [slices][48][8], as rows of d. */
export function storeSums(d: i32, rows: i32, sums: usize, to: usize, scratch: usize): void {
  for (let r: i32 = 0; r < rows; r++, to += <usize>d << 2) {
    rowOfSlices(sums + (<usize>r << 5), 8 * ROW, d, 1, scratch + LAYOUT);
    memory.copy(to, scratch + LAYOUT, <usize>d << 2);
  }
}

/** One row of slices, times a factor. */
function rowOfSlices(from: usize, sliceBytes: usize, columns: i32, factor: f32, to: usize): void {
  const scale = f32x4.splat(factor);
  for (let s = slicesOf(columns); s > 0; s--, from += sliceBytes, to += 32) {
    v128.store(to, f32x4.mul(v128.load(from), scale));
    v128.store(to, f32x4.mul(v128.load(from, 16), scale), 16);
  }
}

/** The gradients of a part's keys or values, [b, m, g, columns]. */
function storeKeys(p: Problem, t: Part, columns: i32, sums: usize, factor: f32, to: Contiguous, scratch: usize): void {
  const dtype = to.dtype;
  const row = <usize>columns * bytesOf(dtype);
  const head = <usize>(t.head / (p.h / p.g));
  for (let slot = t.first * PANEL; slot < t.past * PANEL; slot++) {
    const key = keyIn(p, slot);
    if (key < 0) continue;
    rowOfSlices(sums + (<usize>slot << 5), t.sliceBytes, columns, factor, scratch + LAYOUT);
    const at = (<usize>t.batch * <usize>p.m + <usize>key) * <usize>p.g + head;
    storeRow(scratch + LAYOUT, to.address + at * row, dtype, columns);
  }
}

/**
 * One tile of a gradient of queries: what earlier rounds held, and the sums of this one's parts, in order; times a factor, once all
 * parts are in it.
 */
export function reduceTile(
  f: BackwardParams,
  task: i32,
  sums: usize,
  gradient: Contiguous,
  held: usize,
  factor: f32,
  scratch: usize,
): void {
  const p = f.problem;
  const d = p.d;
  const tiles = p.tiles;
  const parts = f.parts;
  const heads = p.h / p.g;
  const tile = task % tiles;
  const bg = f.firstTask / parts + task / (heads * tiles);
  const head = (task / tiles) % heads;
  const first = max(f.firstTask, bg * parts);
  const past = min(f.pastTask, (bg + 1) * parts);
  const isFirst = first == bg * parts;
  const isLast = past == (bg + 1) * parts;
  const dtype = gradient.dtype;
  const bytes = <usize>d << 2;
  const row = scratch + LAYOUT;
  for (let r: i32 = 0; r < TILE; r++) {
    const query = queryIn(p, tile * TILE + r);
    if (query < 0) continue;
    const at = (<usize>(bg / p.g) * <usize>p.n + <usize>query) * <usize>p.h + <usize>((bg % p.g) * heads + head);
    if (isFirst) memory.fill(row, 0, bytes);
    else memory.copy(row, held + at * bytes, bytes);
    for (let part = first; part < past; part++) {
      const shared = (part - f.firstTask) * heads + head;
      if (load<u8>(metAt(f, shared) + <usize>(tile / 2))) addRow(row, sums + sumsAt(p, shared, tile) + <usize>r * bytes, bytes);
    }
    if (!isLast) {
      memory.copy(held + at * bytes, row, bytes);
      continue;
    }
    const scale = f32x4.splat(factor);
    for (let c: usize = 0; c < bytes; c += 16) v128.store(row + c, f32x4.mul(v128.load(row + c), scale));
    storeRow(row, gradient.address + at * <usize>d * bytesOf(dtype), dtype, d);
  }
}

/** Adds a row to another in whole vectors: what lies past its end is read and written, but not used. */
@inline
function addRow(row: usize, more: usize, bytes: usize): void {
  for (let c: usize = 0; c < bytes; c += 16) v128.store(row + c, f32x4.add(v128.load(row + c), v128.load(more + c)));
}
