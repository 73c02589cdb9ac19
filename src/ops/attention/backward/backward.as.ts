/**
 * Gradients of softmax attention, recomputing the weights from the log-sum-exps: O(n) memory, five products a pair.
 *
 * A task owns a part of the keys of one key/value head. It goes through the queries of every query head that shares
 * these keys, 48 at a time, and through blocks of keys: weights [keys][48 queries]; the values' gradient from them; the
 * scores' gradient in their place; from that the keys' and the queries'. Nobody else adds to the gradients of its keys.
 * Those of the queries come from every part of the keys: each part has its own sums, which `backwardReduce` adds up in
 * order. The parts depend on the shapes only, so the bits do not depend on the number of threads.
 */
import { keyIn, queryIn } from '../blocks.as';
import { BackwardParams, Problem } from '../params.generated.as';
import { hookOf, LAYOUT, Part, PART, ROW, SEGMENTS, slicesOf, SUMS, WALK, BLOCK_PANELS } from './memory.as';
import { openPair } from './pair.as';
import { PairWalk, startPair, takePairs } from './walk.as';
import { isAborted } from '../../../runtime/wasm/assembly/control.as';
import { layOutPanels, layOutSlices, PANEL_SLICE_BYTES } from '../../../runtime/wasm/assembly/layout.as';
import { CHUNK_PANELS, Contiguous, PANEL, SLICE, TILE } from '../../../runtime/cpu/params.generated.as';
import { bytesOf, storeRow } from '../../../runtime/wasm/assembly/storage.as';

/** Keys to panels and slices, values to panels, of one chunk of one key/value head. */
export function backwardPack(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  const p = f.problem;
  const m = p.m;
  const d = p.d;
  const e = p.e;
  const panels = p.panels;
  const chunks = (panels + CHUNK_PANELS - 1) / CHUNK_PANELS;
  const bg = task / chunks;
  const batch = bg / p.g;
  const head = bg % p.g;
  const first = (task % chunks) * CHUNK_PANELS;
  const last = min(first + CHUNK_PANELS, panels);
  const order = p.keys;
  const k = p.k;
  const sliceBytes = <usize>(panels * PANEL * SLICE * 4);
  const slices = f.keySlices + <usize>(bg * slicesOf(d)) * sliceBytes;
  layOutPanels(k, batch, head, order, m, d, first, last, panelsAt(f.keyPanels, bg, panels, d), scratch);
  layOutSlices(k, batch, head, order, m, d, first, last, slices, sliceBytes, PANEL_SLICE_BYTES, scratch);
  layOutPanels(p.v, batch, head, order, m, e, first, last, panelsAt(f.valuePanels, bg, panels, e), scratch);
}

@inline
function panelsAt(base: usize, bg: i32, panels: i32, columns: i32): usize {
  return base + <usize>(bg * panels) * <usize>(columns * PANEL * 4);
}

/** One part of the keys of one head; or, where tables have gradients, one group of such parts, in order. */
export function addParts<H>(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  if (!changetype<H>(0).hasScores || f.placeCount == 0) {
    addPart<H>(f, task, 0, scratch);
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
  const e = p.e;
  const panels = p.panels;
  const tiles = p.tiles;
  const parts = f.parts;
  const bg = task / parts;
  const part = task % parts;
  const sliceBytes = <usize>(panels * PANEL * SLICE * 4);
  const hook = hookOf<H>(scratch);
  const t = changetype<Part>(scratch + PART);
  t.batch = bg / p.g;
  const together = hook.together(f);
  const groups = <i64>((panels + together - 1) / together);
  const most = (BLOCK_PANELS / together) * together;
  t.first = <i32>((groups * part) / parts) * together;
  t.past = min(panels, <i32>((groups * (part + 1)) / parts) * together);
  t.sliceBytes = sliceBytes;
  t.keyPanels = panelsAt(f.keyPanels, bg, panels, d);
  t.keySlices = f.keySlices + <usize>(bg * slicesOf(d)) * sliceBytes;
  t.valuePanels = panelsAt(f.valuePanels, bg, panels, e);
  t.sumsK = f.sumsK + <usize>(bg * slicesOf(d)) * sliceBytes;
  t.sumsV = f.sumsV + <usize>(bg * slicesOf(e)) * sliceBytes;
  t.sumsOfTables = sumsOfTables;
  clear(t.sumsK, sliceBytes, slicesOf(d), t.first, t.past);
  clear(t.sumsV, sliceBytes, slicesOf(e), t.first, t.past);

  const heads = p.h / p.g;
  const firstHead = (bg % p.g) * heads;
  for (t.head = firstHead; t.head < firstHead + heads; t.head++) {
    const place = t.batch * p.h + t.head;
    const sums = <usize>(part * p.b * p.h + place) * <usize>(tiles * TILE * d) << 2;
    for (t.tile = 0; t.tile < tiles; t.tile += 2) {
      // A part may take seconds.
      if (isAborted()) return;
      const walk = changetype<PairWalk>(scratch + WALK);
      startPair(walk, p, place, t.tile, t.first, t.past);
      memory.fill(scratch + SUMS, 0, <usize>(slicesOf(d) * SLICE) * ROW);
      hook.startPair(d);
      let segments = takePairs(walk, p, most, scratch + SEGMENTS);
      if (segments > 0) openPair<H>(f, t, scratch);
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
  storeKeys(p, t, e, t.sumsV, 1, f.gradV, scratch);
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

/** One tile of a gradient of queries: the sums of all parts, in order, times a factor. */
export function reduceTile(f: BackwardParams, task: i32, sums: usize, gradient: Contiguous, factor: f32, scratch: usize): void {
  const p = f.problem;
  const d = p.d;
  const tiles = p.tiles;
  const place = task / tiles;
  const slot = (task % tiles) * TILE;
  const part = <usize>(p.b * p.h) * <usize>(tiles * TILE * d) << 2;
  const dtype = gradient.dtype;
  const scale = f32x4.splat(factor);
  const row = scratch + LAYOUT;
  sums += <usize>(place * tiles * TILE + slot) * <usize>d << 2;
  for (let r: i32 = 0; r < TILE; r++, sums += <usize>d << 2) {
    const query = queryIn(p, slot + r);
    if (query < 0) continue;
    // Whole vectors: what lies past the row is read, but not stored.
    for (let at: usize = 0; at < <usize>d << 2; at += 16) {
      let sum = v128.load(sums + at);
      for (let x: usize = 1; x < <usize>f.parts; x++) sum = f32x4.add(sum, v128.load(sums + at + x * part));
      v128.store(row + at, f32x4.mul(sum, scale));
    }
    const at = (<usize>(place / p.h) * <usize>p.n + <usize>query) * <usize>p.h + <usize>(place % p.h);
    storeRow(row, gradient.address + at * <usize>d * bytesOf(dtype), dtype, d);
  }
}
