/** Products of a tile: of rows and keys, sums over keys, and of rows with rows. */
import { ADD, product, seenProduct, STORE, STORE_MAX, TIMES_LESS } from '../../runtime/wasm/assembly/product.as';
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { PANEL, SLICE, TILE } from '../../runtime/cpu/params.generated.as';
import {
  BLOCK, columnPanels, COMMON, MEANS, PANEL_ROW, PANEL_ROWS, panelsOf, QUERIES, RIGHT, ROW, sliceBytes, STATE, Tile, TOTALS,
  vectorBytes,
} from './memory.as';
import { columnPanelsAt } from './pack.as';
import { BLOCK_PANELS, Problem } from './params.generated.as';

// The micro-kernel as functions: its code is long, and a call costs little beside it.

export function scoreProduct(keys: usize, queries: usize, d: i32, scores: usize, most: usize, seen: usize, bit: i32): void {
  seenProduct(keys, queries, d, scores, STORE_MAX, most, seen, bit);
}

export function storeProduct(keys: usize, rows: usize, columns: i32, pairs: usize): void {
  product(keys, 24, false, rows, columns, pairs, ROW, STORE, 0);
}

export function weighedProduct(keys: usize, rows: usize, d: i32, pairs: usize, shifts: usize, weights: usize): void {
  product(keys, 24, false, rows, d, pairs, ROW, TIMES_LESS, shifts, 32, 0, 0, 0, 0, 0, weights);
}

function addColumnPanel(columnPanels: usize, pairs: usize, count: i32, to: usize): void {
  product(columnPanels, PANEL_ROW, false, pairs, count, to, 32, ADD, 0, ROW);
}

/** Whether the slice of a lane's four rows has work left. */
@inline
export function isLive(t: Tile, lane: usize): bool {
  return ((t.live >> <i32>(lane >> 5)) & 1) != 0;
}

/** A vector += numbers of pairs times rows [column panels][rows][6], over `count` of these, for the live slices. */
export function addRows(pairs: usize, from: usize, panelBytes: usize, count: i32, columns: i32, to: usize, live: i32): void {
  const groups = columnPanels(columns);
  for (let s: i32 = 0; s < TILE / SLICE; s++, to += sliceBytes(columns)) {
    if (!((live >> s) & 1)) continue;
    for (let x: i32 = 0; x < groups; x++) {
      addColumnPanel(from + <usize>x * panelBytes, pairs + (<usize>s << 5), count, to + <usize>x * (<usize>PANEL << 5));
    }
  }
}

// Sums over keys of numbers that add up to 0, rounded, would keep a share of the keys' mean. They are ended without it.

/** A vector of such sums begins. */
export function beginSums(to: usize, d: i32, scratch: usize): void {
  memory.fill(to, 0, vectorBytes(d));
  memory.fill(scratch + TOTALS, 0, ROW);
}

/** The sums += numbers of a block of pairs, at BLOCK, times their keys, `count` of them from key `from` on. */
export function addKeys(p: Problem, from: usize, count: i32, to: usize, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const all = panelsOf(p.m);
  const keys = columnPanelsAt(p.keyColumnPanels, t.group, all, p.d);
  addRows(scratch + BLOCK, keys + from * PANEL_ROW, <usize>(all * PANEL) * PANEL_ROW, count, p.d, to, t.live);
  const bytes = <usize>count * ROW;
  for (let slice: usize = 0; slice < ROW; slice += 32) {
    if (!isLive(t, slice)) continue;
    // Two keys at a time, so that no addition waits for the one before.
    let left = v128.load(scratch + TOTALS + slice);
    let right = v128.load(scratch + TOTALS + slice, 16);
    let nextLeft = f32x4.splat(0);
    let nextRight = nextLeft;
    for (let at = scratch + BLOCK + slice, end = at + bytes; at < end; at += 2 * ROW) {
      left = f32x4.add(left, v128.load(at));
      right = f32x4.add(right, v128.load(at, 16));
      nextLeft = f32x4.add(nextLeft, v128.load(at + ROW));
      nextRight = f32x4.add(nextRight, v128.load(at + ROW, 16));
    }
    v128.store(scratch + TOTALS + slice, f32x4.add(left, nextLeft));
    v128.store(scratch + TOTALS + slice, f32x4.add(right, nextRight), 16);
  }
}

/** Less the means times what the numbers of pairs add up to: the sums with keys from their means. */
export function endSums(to: usize, d: i32, scratch: usize): void {
  const step = sliceBytes(d);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const total = f32x4.neg(v128.load(scratch + TOTALS + lane));
    const slice = (lane >> 5) * step + (lane & 16);
    for (let at = slice, end = slice + step; at < end; at += 32) {
      v128.store(to + at, madd(total, v128.load(scratch + MEANS + at), v128.load(to + at)));
    }
  }
}

/** The weighted sums of keys, a vector at `to`. */
export function sumKeys(p: Problem, to: usize, scratch: usize): void {
  const t = changetype<Tile>(scratch + STATE);
  const all = panelsOf(p.m);
  const keys = columnPanelsAt(p.keyColumnPanels, t.group, all, p.d);
  memory.fill(to, 0, vectorBytes(p.d));
  for (let first: i32 = 0; first < t.panels; first += BLOCK_PANELS) {
    const count = min(BLOCK_PANELS, t.panels - first) * PANEL;
    const from = <usize>(first * PANEL);
    addRows(t.weights + from * ROW, keys + from * PANEL_ROW, <usize>(all * PANEL) * PANEL_ROW, count, p.d, to, t.live);
  }
}

/** Numbers of all pairs from a vector of rows, and panels of keys or values. */
export function timesRows(t: Tile, panels: usize, columns: i32, vector: usize, to: usize): void {
  const step = sliceBytes(columns);
  for (let panel: i32 = 0; panel < t.panels; panel++, panels += <usize>(columns * PANEL * 4), to += PANEL_ROWS) {
    for (let s: i32 = 0; s < TILE / SLICE; s++) {
      if ((t.live >> s) & 1) storeProduct(panels, vector + <usize>s * step, columns, to + (<usize>s << 5));
    }
  }
}

/** Means of the numbers of each row's pairs under its weights. */
export function meanNumbers(t: Tile, numbers: usize, to: usize): void {
  const bytes = <usize>t.panels * PANEL_ROWS;
  for (let slice: usize = 0; slice < ROW; slice += 32) {
    let left = f32x4.splat(0);
    let right = left;
    let nextLeft = left;
    let nextRight = left;
    let weight = t.weights + slice;
    if (isLive(t, slice)) {
      for (let at = numbers + slice, end = at + bytes; at < end; at += 2 * ROW, weight += 2 * ROW) {
        left = madd(v128.load(weight), v128.load(at), left);
        right = madd(v128.load(weight, 16), v128.load(at, 16), right);
        nextLeft = madd(v128.load(weight + ROW), v128.load(at + ROW), nextLeft);
        nextRight = madd(v128.load(weight + ROW, 16), v128.load(at + ROW, 16), nextRight);
      }
    }
    v128.store(to + slice, f32x4.add(left, nextLeft));
    v128.store(to + slice, f32x4.add(right, nextRight), 16);
  }
}

/** Each row's dot product of two vectors of d columns, to `to`. */
export function dots(a: usize, b: usize, d: i32, to: usize): void {
  const step = sliceBytes(d);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const slice = (lane >> 5) * step + (lane & 16);
    let sum = f32x4.splat(0);
    for (let at = slice, end = slice + (<usize>d << 5); at < end; at += 32) sum = madd(v128.load(a + at), v128.load(b + at), sum);
    v128.store(to + lane, sum);
  }
}

/** Means - queries, the right-hand side of the forward pass's systems, from these. */
export function meansLessQueries(p: Problem, scratch: usize): void {
  const step = sliceBytes(p.d);
  for (let lane: usize = 0; lane < ROW; lane += 16) {
    const slice = scratch + (lane >> 5) * step + (lane & 16);
    let common = scratch + COMMON;
    for (let at = slice, end = slice + (<usize>p.d << 5); at < end; at += 32, common += 4) {
      const query = f32x4.sub(v128.load(at, QUERIES), v128.load32_splat(common));
      v128.store(at, f32x4.sub(v128.load(at, MEANS), query), RIGHT);
    }
  }
}
