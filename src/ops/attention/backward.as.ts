/**
 * Gradients of softmax attention, recomputing the weights from the log-sum-exps: O(n) memory, five products a pair.
 *
 * A task owns a part of the keys of one key/value head. It goes through the queries of every query head that shares
 * these keys, 48 at a time, and through blocks of keys: weights [keys][48 queries]; the values' gradient from them; the
 * scores' gradient in their place; from that the keys' and the queries'. Nobody else adds to the gradients of its keys.
 * Those of the queries come from every part of the keys: each part has its own sums, which `backwardReduce` adds up in
 * order. The parts depend on the shapes only, so the bits do not depend on the number of threads.
 *
 * Of Parallax, whose weights are w = p (1 + level - r . key), with level the mean of r . key under p: the values' gradient
 * is from w; with a = gradOut . value and b its mean under p, the scores' is p (b - gradOut . out) + w (a - b), and that of
 * the products with r is p (b - a). Eight products a pair.
 */
import { flagsOf, isFull, isSeen, isSeenByGroup, keyIn, patternAt, queryIn, Segment, SEGMENT_BYTES } from './blocks.as';
import { BackwardParams, Place, PLACE_BYTES, Problem, TABLE_RUN } from './params.generated.as';
import { isAborted } from '../../runtime/wasm/assembly/control.as';
import {
  LAYOUT_BYTES,
  layOutPanels,
  layOutSlices,
  layOutTile,
  PANEL_SLICE_BYTES,
  rowAddress,
} from '../../runtime/wasm/assembly/layout.as';
import { CHUNK_PANELS, Contiguous, LARGEST_HEAD, PANEL, SLICE, TILE } from '../../runtime/wasm/params.generated.as';
import { modify, MODIFIER_BYTES, openModifier, writeKeys } from './modifier.as';
import { ACROSS, ADD, product, STORE, STORE_EXP_LESS, STORE_TILTED, TILT_GRADIENTS, TIMES_LESS } from '../../runtime/wasm/assembly/product.as';
import { bytesOf, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { exp2Clamped, madd, seenLanes, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';

const PAIR: i32 = 2 * TILE;
/** Bytes from one key's numbers to the next: one for each query of a pair of tiles. */
const ROW: usize = ACROSS;
const PANEL_ROWS: usize = <usize>PANEL * ROW;
/** Panels in a block: 168 keys, whose weights fill 32 KiB. */
const BLOCK_PANELS: i32 = 28;
const GROUPS: i32 = PAIR / PANEL;
const LOG2E: f32 = 1.4426950408889634;
/** Less than any score by more than the largest exponent: no weight. */
const NO_WEIGHT: f32 = 1e30;


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

// @ts-ignore: decorator
@inline
function slicesOf(columns: i32): i32 {
  return (columns + SLICE - 1) / SLICE;
}

// @ts-ignore: decorator
@inline
function panelsAt(base: f64, bg: i32, panels: i32, columns: i32): usize {
  return <usize>base + <usize>(bg * panels) * <usize>(columns * PANEL * 4);
}

/** What a pair of tiles sees of some panels; pattern -1 where a tile sees nothing. */
@unmanaged
class PairSegment {
  first: i32;
  past: i32;
  left: i32;
  right: i32;
}
const PAIR_SEGMENT_BYTES: usize = 16;

/** Where a walk through the runs of two tiles has come to. */
@unmanaged
class PairWalk {
  panel: i32;
  pastPanel: i32;
  leftRun: i32;
  pastLeft: i32;
  rightRun: i32;
  pastRight: i32;
}

// One worker's working memory.
const QUERIES: usize = 0; // [6 slices][d][8], times scale and log2(e)
const GRADIENTS: usize = QUERIES + PAIR * LARGEST_HEAD * 4; // of out, [6 slices][e][8]
const QUERY_ROWS: usize = GRADIENTS + PAIR * LARGEST_HEAD * 4; // [slices of d][48][8]
const GRADIENT_ROWS: usize = QUERY_ROWS + PAIR * LARGEST_HEAD * 4; // [slices of e][48][8]
const SUMS: usize = GRADIENT_ROWS + PAIR * LARGEST_HEAD * 4; // of the queries' gradient, [slices of d][48][8]
const WEIGHTS: usize = SUMS + PAIR * LARGEST_HEAD * 4; // [168 keys][48], then the scores' gradient
const LAYOUT: usize = WEIGHTS + <usize>BLOCK_PANELS * PANEL_ROWS;
const LSES: usize = LAYOUT + LAYOUT_BYTES; // [48], times log2(e)
const DELTAS: usize = LSES + ROW; // [48]: sum of out * gradOut, less the gradient of lse
const WALK: usize = DELTAS + ROW;
const SEGMENTS: usize = WALK + 32;
const KEYS: usize = SEGMENTS + <usize>BLOCK_PANELS * PAIR_SEGMENT_BYTES; // [168] i32: the keys of the block at hand
const SLOPES: usize = (KEYS + <usize>(BLOCK_PANELS * PANEL * 4) + 15) & ~15; // [168 keys][48]: of the modifier
const HALF: usize = SLOPES + <usize>BLOCK_PANELS * PANEL_ROWS; // [168 keys][24]: scores of one tile
const HALF_SLOPES: usize = HALF + <usize>(BLOCK_PANELS * PANEL * TILE * 4);
// A program and its derivative for each tile of a pair.
const MODIFIERS: usize = HALF_SLOPES + <usize>(BLOCK_PANELS * PANEL * TILE * 4);
const TABLE_MODIFIER: usize = MODIFIERS + 4 * MODIFIER_BYTES;
const RAW: usize = TABLE_MODIFIER + MODIFIER_BYTES; // [168 keys][48]: scores before they are modified
const RAW_BYTES: usize = <usize>BLOCK_PANELS * PANEL_ROWS;
// Of Parallax: r twice as the queries, its gradient's sums, and the tilted weights, then the gradient of r's products.
const PROBES: usize = RAW + RAW_BYTES; // [6 slices][d][8]
const PROBE_ROWS: usize = PROBES + PAIR * LARGEST_HEAD * 4; // [slices of d][48][8]
const PROBE_SUMS: usize = PROBE_ROWS + PAIR * LARGEST_HEAD * 4; // [slices of d][48][8]
const TILTED: usize = PROBE_SUMS + PAIR * LARGEST_HEAD * 4; // [168 keys][48]
const LEVELS: usize = TILTED + <usize>BLOCK_PANELS * PANEL_ROWS; // [48]: 1 + level
const MEANS: usize = LEVELS + ROW; // [48]: b, then what TILT_GRADIENTS takes: scale (b - gradOut . out), and scale
export const BACKWARD_BYTES: usize = MEANS + 3 * ROW;

/** One part of the keys of one head; or, where tables have gradients, one group of such parts, in order. */
export function attentionBackward(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  if (f.placeCount == 0) {
    backwardPart(f, task, 0, scratch);
    return;
  }
  const p = f.problem;
  const bytes = <usize>f.elements << 3;
  const sums = f.sumsOfTables + <usize>task * bytes;
  memory.fill(sums, 0, bytes);
  for (let part = task; part < p.b * p.g * f.parts; part += f.groups) {
    backwardPart(f, part, sums, scratch);
  }
}

/** The gradients of one part of the keys of one head, and what they contribute to those of the queries and tables. */
function backwardPart(f: BackwardParams, task: i32, sumsOfTables: usize, scratch: usize): void {
  const p = f.problem;
  const h = p.h;
  const g = p.g;
  const d = p.d;
  const e = p.e;
  const panels = p.panels;
  const tiles = p.tiles;
  const parts = f.parts;
  const bg = task / parts;
  const part = task % parts;
  const batch = bg / g;
  const first = <i32>((<i64>panels * part) / parts);
  const past = <i32>((<i64>panels * (part + 1)) / parts);

  const sliceBytes = <usize>(panels * PANEL * SLICE * 4);
  const sumsK = f.sumsK + <usize>(bg * slicesOf(d)) * sliceBytes;
  const sumsV = f.sumsV + <usize>(bg * slicesOf(e)) * sliceBytes;
  clear(sumsK, sliceBytes, slicesOf(d), first, past);
  clear(sumsV, sliceBytes, slicesOf(e), first, past);
  const keySlices = f.keySlices + <usize>(bg * slicesOf(d)) * sliceBytes;
  const keyPanels = panelsAt(f.keyPanels, bg, panels, d);
  const valuePanels = panelsAt(f.valuePanels, bg, panels, e);

  const isTilted = p.r.address != 0;
  const heads = h / g;
  const firstHead = (bg % g) * heads;
  for (let head = firstHead; head < firstHead + heads; head++) {
    const place = batch * h + head;
    const map = i32.load(p.maps + (<usize>place << 2));
    const sums = <usize>(part * p.b * p.h + place) * <usize>(tiles * TILE * d) << 2;
    for (let tile: i32 = 0; tile < tiles; tile += 2) {
      // A part may take seconds.
      if (isAborted()) return;
      const walk = changetype<PairWalk>(scratch + WALK);
      startPair(walk, p, map, tile, first, past);
      memory.fill(scratch + SUMS, 0, <usize>(slicesOf(d) * SLICE) * ROW);
      if (isTilted) memory.fill(scratch + PROBE_SUMS, 0, <usize>(slicesOf(d) * SLICE) * ROW);
      let segments = takePairs(walk, p, scratch + SEGMENTS);
      if (segments > 0) layOutPair(f, batch, head, tile, scratch);
      while (segments > 0) {
        if (isTilted) {
          weigh(p, keyPanels, d, segments, scratch, STORE_EXP_LESS);
          tilt(p, keyPanels, d, segments, scratch);
          addToKeys(sumsV, sliceBytes, slicesOf(e), segments, TILTED, GRADIENT_ROWS, scratch);
          tiltGradients(p, valuePanels, e, segments, scratch);
          addToKeys(sumsK, sliceBytes, slicesOf(d), segments, WEIGHTS, QUERY_ROWS, scratch);
          addToKeys(sumsK, sliceBytes, slicesOf(d), segments, TILTED, PROBE_ROWS, scratch);
          addToQueries(p, keySlices, sliceBytes, slicesOf(d), segments, WEIGHTS, SUMS, scratch);
          addToQueries(p, keySlices, sliceBytes, slicesOf(d), segments, TILTED, PROBE_SUMS, scratch);
          segments = takePairs(walk, p, scratch + SEGMENTS);
          continue;
        }
        if (p.program != 0) {
          weigh(p, keyPanels, d, segments, scratch, STORE);
          if (sumsOfTables) memory.copy(scratch + RAW, scratch + WEIGHTS, RAW_BYTES);
          modifyPair(p, min(2, tiles - tile), segments, scratch);
        } else weigh(p, keyPanels, d, segments, scratch, STORE_EXP_LESS);
        addToKeys(sumsV, sliceBytes, slicesOf(e), segments, WEIGHTS, GRADIENT_ROWS, scratch);
        scoreGradients(p, valuePanels, e, segments, scratch);
        if (sumsOfTables) addToTables(f, batch, head, tile, segments, sumsOfTables, scratch);
        if (p.program != 0) timesSlopes(segments, scratch);
        addToKeys(sumsK, sliceBytes, slicesOf(d), segments, WEIGHTS, QUERY_ROWS, scratch);
        addToQueries(p, keySlices, sliceBytes, slicesOf(d), segments, WEIGHTS, SUMS, scratch);
        segments = takePairs(walk, p, scratch + SEGMENTS);
      }
      const rows = min(2, tiles - tile) * TILE;
      const place = sums + (<usize>(tile * TILE * d) << 2);
      storeSums(d, rows, scratch + SUMS, f.sumsQ + place, scratch);
      if (isTilted) storeSums(d, rows, scratch + PROBE_SUMS, f.sumsR + place, scratch);
    }
  }
  const scale: f32 = isTilted ? 1 : <f32>p.scale;
  storeKeys(p, batch, bg % g, d, first, past, sumsK, sliceBytes, scale, f.gradK.address, f.gradK.dtype, scratch);
  storeKeys(p, batch, bg % g, e, first, past, sumsV, sliceBytes, 1, f.gradV.address, f.gradV.dtype, scratch);
}

function clear(sums: usize, sliceBytes: usize, slices: i32, first: i32, past: i32): void {
  const bytes = <usize>((past - first) * PANEL) << 5;
  sums += <usize>(first * PANEL) << 5;
  for (let s: i32 = 0; s < slices; s++, sums += sliceBytes) memory.fill(sums, 0, bytes);
}

function startPair(walk: PairWalk, p: Problem, map: i32, tile: i32, first: i32, past: i32): void {
  const left = p.tileRuns + (<usize>(map * p.tiles + tile) << 3);
  walk.panel = first;
  walk.pastPanel = past;
  walk.leftRun = i32.load(left);
  walk.pastLeft = walk.leftRun + i32.load(left, 4);
  const hasRight = tile + 1 < p.tiles;
  walk.rightRun = hasRight ? i32.load(left, 8) : 0;
  walk.pastRight = hasRight ? walk.rightRun + i32.load(left, 12) : 0;
}

// @ts-ignore: decorator
@inline
function runAt(p: Problem, run: i32): Segment {
  return changetype<Segment>(p.runs + <usize>run * SEGMENT_BYTES);
}

/** The next segments that one or both tiles see, up to a block of panels; returns their number. */
function takePairs(walk: PairWalk, p: Problem, segments: usize): i32 {
  let count: i32 = 0;
  let room = BLOCK_PANELS;
  while (room > 0) {
    while (walk.leftRun < walk.pastLeft && runAt(p, walk.leftRun).past <= walk.panel) walk.leftRun++;
    while (walk.rightRun < walk.pastRight && runAt(p, walk.rightRun).past <= walk.panel) walk.rightRun++;
    let left = i32.MAX_VALUE;
    let right = i32.MAX_VALUE;
    if (walk.leftRun < walk.pastLeft) left = max(walk.panel, runAt(p, walk.leftRun).first);
    if (walk.rightRun < walk.pastRight) right = max(walk.panel, runAt(p, walk.rightRun).first);
    const first = min(left, right);
    if (first >= walk.pastPanel) break;
    const segment = changetype<PairSegment>(segments + <usize>count * PAIR_SEGMENT_BYTES);
    let past = min(walk.pastPanel, first + room);
    segment.left = -1;
    segment.right = -1;
    if (left == first) {
      segment.left = runAt(p, walk.leftRun).pattern;
      past = min(past, runAt(p, walk.leftRun).past);
    } else past = min(past, left);
    if (right == first) {
      segment.right = runAt(p, walk.rightRun).pattern;
      past = min(past, runAt(p, walk.rightRun).past);
    } else past = min(past, right);
    segment.first = first;
    segment.past = past;
    walk.panel = past;
    room -= past - first;
    count++;
  }
  return count;
}

/** Queries and gradients of a pair of tiles as the products take them, and what the weights need of each query. */
function layOutPair(f: BackwardParams, batch: i32, head: i32, tile: i32, scratch: usize): void {
  const p = f.problem;
  const n = p.n;
  const d = p.d;
  const e = p.e;
  const order = p.queries;
  const tiles = min(2, p.tiles - tile);
  const q = p.q;
  const r = p.r;
  const out = f.out;
  const mean = f.mean;
  const gradOut = f.gradOut;
  const program = p.program;
  const factor = <f32>p.scale * (program ? 1 : LOG2E);
  if (tiles == 1) {
    memory.fill(scratch + QUERIES, 0, <usize>d * ROW);
    memory.fill(scratch + GRADIENTS, 0, <usize>e * ROW);
    memory.fill(scratch + QUERY_ROWS, 0, <usize>(slicesOf(d) * SLICE) * ROW);
    memory.fill(scratch + GRADIENT_ROWS, 0, <usize>(slicesOf(e) * SLICE) * ROW);
    if (r.address) {
      memory.fill(scratch + PROBES, 0, <usize>d * ROW);
      memory.fill(scratch + PROBE_ROWS, 0, <usize>(slicesOf(d) * SLICE) * ROW);
    }
  }
  for (let t: i32 = 0; t < tiles; t++) {
    const first = (tile + t) * TILE;
    const queries = scratch + QUERIES + <usize>(t * TILE * d * 4);
    const gradients = scratch + GRADIENTS + <usize>(t * TILE * e * 4);
    layOutTile(q, batch, head, order, n, d, first, TILE, factor, queries, scratch + LAYOUT);
    layOutTile(gradOut, batch, head, order, n, e, first, TILE, 1, gradients, scratch + LAYOUT);
    if (r.address) {
      const probes = scratch + PROBES + <usize>(t * TILE * d * 4);
      layOutTile(r, batch, head, order, n, d, first, TILE, 1, probes, scratch + LAYOUT);
    }
    if (program) {
      const modifier = modifierOf(t, scratch);
      openModifier(p, program, p.tables, batch, head, first, modifier);
      openModifier(p, p.derivative, p.derivativeTables, batch, head, first, modifier + MODIFIER_BYTES);
    }
  }
  const slot = tile * TILE;
  const panel = slot / PANEL;
  const past = panel + (tiles * TILE) / PANEL;
  const back = <usize>slot << 5;
  const rows = scratch + QUERY_ROWS - back;
  layOutSlices(q, batch, head, order, n, d, panel, past, rows, 8 * ROW, PANEL_SLICE_BYTES, scratch + LAYOUT);
  if (r.address) {
    const probes = scratch + PROBE_ROWS - back;
    layOutSlices(r, batch, head, order, n, d, panel, past, probes, 8 * ROW, PANEL_SLICE_BYTES, scratch + LAYOUT);
  }
  const gradients = scratch + GRADIENT_ROWS - back;
  layOutSlices(gradOut, batch, head, order, n, e, panel, past, gradients, 8 * ROW, PANEL_SLICE_BYTES, scratch + LAYOUT);

  const scale = <f32>p.scale;
  for (let row: i32 = 0; row < PAIR; row++) {
    const query = row < tiles * TILE ? queryIn(p, slot + row) : -1;
    const lane = scratch + (<usize>row << 2);
    let lse = NO_WEIGHT;
    let delta: f32 = 0;
    let level: f32 = 0;
    let average: f32 = 0;
    if (query >= 0) {
      const at = (<usize>batch * <usize>p.n + <usize>query) * <usize>p.h + <usize>head;
      const own = f32.load(f.lse + (at << 2));
      if (own != -Infinity) lse = own * LOG2E;
      const a = rowAddress(out, batch, query, head);
      const b = rowAddress(gradOut, batch, query, head);
      delta = dot(
        loadRow(a, out.element, out.dtype, e, scratch + LAYOUT),
        loadRow(b, gradOut.element, gradOut.dtype, e, scratch + LAYOUT + LARGEST_HEAD * 4),
        e,
      );
      if (f.gradLse != 0) delta -= f32.load(f.gradLse + (at << 2));
      if (r.address) {
        level = f32.load(f.level + (at << 2));
        average = dot(
          rowAddress(mean, batch, query, head),
          loadRow(b, gradOut.element, gradOut.dtype, e, scratch + LAYOUT),
          e,
        );
      }
    }
    f32.store(lane, lse, LSES);
    f32.store(lane, delta, DELTAS);
    if (!r.address) continue;
    f32.store(lane, 1 + level, LEVELS);
    f32.store(lane, average, MEANS);
    f32.store(lane, scale * (average - delta), MEANS + ROW);
    f32.store(lane, scale, MEANS + 2 * ROW);
  }
}

function dot(a: usize, b: usize, count: i32): f32 {
  let sums = f32x4.splat(0);
  let i: i32 = 0;
  for (; i + 4 <= count; i += 4, a += 16, b += 16) sums = madd(v128.load(a), v128.load(b), sums);
  let sum = sumOfLanes(sums);
  for (; i < count; i++, a += 4, b += 4) sum += f32.load(a) * f32.load(b);
  return sum;
}

/** Weights of a block, 0 for keys not seen; or, if `finish` (a constant) is STORE, scores. */
// @ts-ignore: decorator
@inline
function weigh(p: Problem, keys: usize, d: i32, segments: i32, scratch: usize, finish: i32): void {
  const panelBytes = <usize>(d * PANEL * 4);
  let row = scratch + WEIGHTS;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>at * PAIR_SEGMENT_BYTES);
    for (let x = segment.first; x < segment.past; x++, row += PANEL_ROWS) {
      const panel = keys + <usize>x * panelBytes;
      for (let s: i32 = 0; s < PAIR / SLICE; s++) {
        const index = s < TILE / SLICE ? segment.left : segment.right;
        if (index < 0) continue;
        const slice = s % (TILE / SLICE);
        const pattern = patternAt(p, index);
        const flags = flagsOf(pattern);
        const lane = <usize>s << 5;
        if (isSeen(flags, slice)) {
          const queries = scratch + QUERIES + <usize>s * (<usize>d << 5);
          product(panel, 24, false, queries, d, row + lane, ROW, finish, scratch + LSES + lane);
          if (finish == STORE_EXP_LESS && !isFull(flags, slice)) mask(row + lane, pattern, slice * SLICE);
        } else fillZeros(row + lane);
      }
    }
  }
}

function fillZeros(weights: usize): void {
  const zero = f32x4.splat(0);
  for (const end = weights + PANEL_ROWS; weights < end; weights += ROW) {
    v128.store(weights, zero);
    v128.store(weights, zero, 16);
  }
}

function mask(weights: usize, pattern: usize, query: i32): void {
  for (const past = pattern + PANEL * 4; pattern < past; pattern += 4, weights += ROW) {
    const bits = i32.load(pattern) >> query;
    v128.store(weights, v128.and(v128.load(weights), seenLanes(bits)));
    v128.store(weights, v128.and(v128.load(weights, 16), seenLanes(bits >> 4)), 16);
  }
}

/** Working memory of the program of a tile of a pair; that of its derivative follows. */
// @ts-ignore: decorator
@inline
function modifierOf(tile: i32, scratch: usize): usize {
  return scratch + MODIFIERS + <usize>(2 * tile) * MODIFIER_BYTES;
}

/** Scores of a block to weights by the program, 0 for keys not seen, and the program's slopes. */
function modifyPair(p: Problem, tiles: i32, segments: i32, scratch: usize): void {
  let keys = scratch + KEYS;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>at * PAIR_SEGMENT_BYTES);
    keys = writeKeys(p, segment.first, segment.past, keys);
  }
  const count = <i32>((keys - scratch - KEYS) >> 2);
  const log2e = f32x4.splat(LOG2E);
  for (let t: i32 = 0; t < tiles; t++) {
    const column = <usize>(t * TILE * 4);
    copyRows(scratch + WEIGHTS + column, ROW, scratch + HALF, TILE * 4, count);
    const modifier = modifierOf(t, scratch);
    modify(p.derivative, modifier + MODIFIER_BYTES, scratch + HALF, scratch + HALF_SLOPES, scratch + KEYS, count);
    modify(p.program, modifier, scratch + HALF, scratch + HALF, scratch + KEYS, count);
    copyRows(scratch + HALF_SLOPES, TILE * 4, scratch + SLOPES + column, ROW, count);
    let row: usize = 0;
    for (let at: i32 = 0; at < segments; at++) {
      const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>at * PAIR_SEGMENT_BYTES);
      const index = t == 0 ? segment.left : segment.right;
      for (let slot = segment.first * PANEL; slot < segment.past * PANEL; slot++, row++) {
        if (index < 0) continue;
        const word = i32.load(patternAt(p, index) + (<usize>(slot % PANEL) << 2));
        for (let query: i32 = 0; query < TILE; query += 4) {
          const lane = <usize>query << 2;
          const score = v128.load(scratch + HALF + row * (TILE * 4) + lane);
          const less = f32x4.sub(f32x4.mul(score, log2e), v128.load(scratch + LSES + column + lane));
          const weight = v128.and(exp2Clamped(less), seenLanes(word >> query));
          v128.store(scratch + WEIGHTS + row * ROW + column + lane, weight);
        }
      }
    }
  }
}

function copyRows(from: usize, fromStep: usize, to: usize, toStep: usize, count: i32): void {
  for (; count > 0; count--, from += fromStep, to += toStep) memory.copy(to, from, TILE * 4);
}

/** Adds what a block's gradients of the modified scores say about the tables that the modifier reads. */
function addToTables(
  f: BackwardParams,
  batch: i32,
  head: i32,
  tile: i32,
  segments: i32,
  sums: usize,
  scratch: usize,
): void {
  const p = f.problem;
  const modifier = scratch + TABLE_MODIFIER;
  for (let t: i32 = 0; t < min(2, p.tiles - tile); t++) {
    const column = <usize>(t * TILE * 4);
    const first = (tile + t) * TILE;
    for (let at: usize = 0; at < <usize>f.placeCount; at++) {
      const place = changetype<Place>(f.places + at * <usize>PLACE_BYTES);
      let row: usize = 0;
      for (let s: i32 = 0; s < segments; s++) {
        const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>s * PAIR_SEGMENT_BYTES);
        const count = (segment.past - segment.first) * PANEL;
        if ((t == 0 ? segment.left : segment.right) >= 0) {
          const keys = scratch + KEYS + (row << 2);
          copyRows(scratch + RAW + row * ROW + column, ROW, scratch + HALF, TILE * 4, count);
          openModifier(p, place.factor, place.factorTables, batch, head, first, modifier);
          modify(place.factor, modifier, scratch + HALF, scratch + HALF_SLOPES, keys, count);
          openModifier(p, place.index, place.indexTables, batch, head, first, modifier);
          modify(place.index, modifier, scratch + HALF, scratch + HALF, keys, count);
          scatter(place, scratch + WEIGHTS + row * ROW + column, count, sums, scratch);
        }
        row += <usize>count;
      }
    }
  }
}

/** sums[index] += gradient * factor, for the gradients [count][48] of one tile; keys not seen have none. */
function scatter(place: Place, gradients: usize, count: i32, sums: usize, scratch: usize): void {
  const table = sums + (place.first << 3);
  const length = <u32>place.length;
  let element: usize = 0;
  for (let key: i32 = 0; key < count; key++, gradients += ROW) {
    for (let r: usize = 0; r < <usize>(TILE * 4); r += 4, element += 4) {
      const gradient = f32.load(gradients + r);
      const index = i32.load(scratch + HALF + element);
      if (gradient == 0 || <u32>index >= length) continue;
      const sum = table + (<usize>index << 3);
      f64.store(sum, f64.load(sum) + <f64>gradient * <f64>f32.load(scratch + HALF_SLOPES + element));
    }
  }
}

/** Gradients of the modified scores to those of the scores; 0 stays 0, whatever the slope of a key not seen. */
function timesSlopes(segments: i32, scratch: usize): void {
  let bytes: usize = 0;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>at * PAIR_SEGMENT_BYTES);
    bytes += <usize>(segment.past - segment.first) * PANEL_ROWS;
  }
  const zero = f32x4.splat(0);
  for (let at: usize = 0; at < bytes; at += 16) {
    const gradient = v128.load(scratch + WEIGHTS + at);
    const product = f32x4.mul(gradient, v128.load(scratch + SLOPES + at));
    v128.store(scratch + WEIGHTS + at, v128.andnot(product, f32x4.eq(gradient, zero)));
  }
}

/** Weights to gradients of the scores: weight * (gradOut . value - delta). */
function scoreGradients(p: Problem, values: usize, e: i32, segments: i32, scratch: usize): void {
  const panelBytes = <usize>(e * PANEL * 4);
  let row = scratch + WEIGHTS;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>at * PAIR_SEGMENT_BYTES);
    for (let x = segment.first; x < segment.past; x++, row += PANEL_ROWS) {
      const panel = values + <usize>x * panelBytes;
      for (let s: i32 = 0; s < PAIR / SLICE; s++) {
        const index = s < TILE / SLICE ? segment.left : segment.right;
        if (index < 0 || !isSeen(flagsOf(patternAt(p, index)), s % (TILE / SLICE))) continue;
        const lane = <usize>s << 5;
        const gradients = scratch + GRADIENTS + <usize>s * (<usize>e << 5);
        product(panel, 24, false, gradients, e, row + lane, ROW, TIMES_LESS, scratch + DELTAS + lane);
      }
    }
  }
}

/** Of Parallax: the tilted weights of a block. */
function tilt(p: Problem, keys: usize, d: i32, segments: i32, scratch: usize): void {
  const panelBytes = <usize>(d * PANEL * 4);
  let row: usize = scratch;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>at * PAIR_SEGMENT_BYTES);
    for (let x = segment.first; x < segment.past; x++, row += PANEL_ROWS) {
      const panel = keys + <usize>x * panelBytes;
      for (let s: i32 = 0; s < PAIR / SLICE; s++) {
        const index = s < TILE / SLICE ? segment.left : segment.right;
        if (index < 0) continue;
        const lane = <usize>s << 5;
        const to = row + TILTED + lane;
        if (isSeen(flagsOf(patternAt(p, index)), s % (TILE / SLICE))) {
          const probes = scratch + PROBES + <usize>s * (<usize>d << 5);
          const weights = row + WEIGHTS + lane;
          product(panel, 24, false, probes, d, to, ROW, STORE_TILTED, scratch + LEVELS + lane, 32, 0, 0, 0, 0, 0, weights);
        } else fillZeros(to);
      }
    }
  }
}

/** Of Parallax: from the weights to the gradients of the scores, and from the tilted ones to those of the products with r. */
function tiltGradients(p: Problem, values: usize, e: i32, segments: i32, scratch: usize): void {
  const panelBytes = <usize>(e * PANEL * 4);
  let row: usize = scratch;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>at * PAIR_SEGMENT_BYTES);
    for (let x = segment.first; x < segment.past; x++, row += PANEL_ROWS) {
      const panel = values + <usize>x * panelBytes;
      for (let s: i32 = 0; s < PAIR / SLICE; s++) {
        const index = s < TILE / SLICE ? segment.left : segment.right;
        if (index < 0 || !isSeen(flagsOf(patternAt(p, index)), s % (TILE / SLICE))) continue;
        const lane = <usize>s << 5;
        const gradients = scratch + GRADIENTS + <usize>s * (<usize>e << 5);
        const tilted = row + TILTED + lane;
        product(panel, 24, false, gradients, e, row + WEIGHTS + lane, ROW, TILT_GRADIENTS, scratch + MEANS + lane, 32, 0, 0, 0, 0, 0, tilted);
      }
    }
  }
}

/** sums[keys] += weights rows, over the queries of the tiles that see a panel; weights and rows lie in working memory. */
function addToKeys(
  sums: usize,
  sliceBytes: usize,
  slices: i32,
  segments: i32,
  block: usize,
  rows: usize,
  scratch: usize,
): void {
  let weights = scratch + block;
  rows += scratch;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>at * PAIR_SEGMENT_BYTES);
    const skipped = segment.left < 0 ? TILE : 0;
    const queries = PAIR - skipped - (segment.right < 0 ? TILE : 0);
    const first = weights + (<usize>skipped << 2);
    const keys = (segment.past - segment.first) * PANEL;
    let to = sums + (<usize>(segment.first * PANEL) << 5);
    let slice = rows + (<usize>skipped << 5);
    for (let s: i32 = 0; s < slices; s++, slice += 8 * ROW, to += sliceBytes) {
      addProducts(first, slice, queries, to, keys);
    }
    weights += <usize>keys * ROW;
  }
}

function addProducts(weights: usize, rows: usize, depth: i32, to: usize, keys: i32): void {
  for (let key: i32 = 0; key < keys; key += PANEL, weights += PANEL_ROWS, to += PANEL * 32) {
    product(weights, 4, true, rows, depth, to, 32, ADD, 0);
  }
}

/** sums[queries] += gradients^T keys, six queries at a time, over the stretches of keys that they see. */
function addToQueries(
  p: Problem,
  keys: usize,
  sliceBytes: usize,
  slices: i32,
  segments: i32,
  block: usize,
  sums: usize,
  scratch: usize,
): void {
  for (let group: i32 = 0; group < GROUPS; group++) {
    const column = scratch + block + <usize>(group * PANEL * 4);
    let offset: i32 = 0;
    let first: i32 = -1;
    let count: i32 = 0;
    let past: i32 = -1;
    for (let at: i32 = 0; at <= segments; at++) {
      const segment = changetype<PairSegment>(scratch + SEGMENTS + <usize>at * PAIR_SEGMENT_BYTES);
      let sees = false;
      if (at < segments) {
        const index = group < GROUPS / 2 ? segment.left : segment.right;
        sees = index >= 0 && isSeenByGroup(flagsOf(patternAt(p, index)), group % (GROUPS / 2));
        if (sees && segment.first == past) {
          past = segment.past;
          count += (segment.past - segment.first) * PANEL;
          offset += (segment.past - segment.first) * PANEL;
          continue;
        }
      }
      if (count > 0) {
        const weights = column + <usize>(offset - count) * ROW;
        let from = keys + (<usize>first << 5);
        let to = scratch + sums + <usize>(group * PANEL * 32);
        for (let s: i32 = 0; s < slices; s++, from += sliceBytes, to += 8 * ROW) {
          product(weights, ROW, false, from, count, to, 32, ADD, 0);
        }
        count = 0;
      }
      if (at == segments) break;
      const length = (segment.past - segment.first) * PANEL;
      past = -1;
      if (sees) {
        first = segment.first * PANEL;
        count = length;
        past = segment.past;
      }
      offset += length;
    }
  }
}

/** The sums of a pair of tiles, [slices][48][8], as rows of d. */
function storeSums(d: i32, rows: i32, sums: usize, to: usize, scratch: usize): void {
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

/** The gradients of some panels of keys or values, [b, m, g, columns]. */
function storeKeys(
  p: Problem,
  batch: i32,
  head: i32,
  columns: i32,
  first: i32,
  past: i32,
  sums: usize,
  sliceBytes: usize,
  factor: f32,
  to: usize,
  dtype: i32,
  scratch: usize,
): void {
  const row = <usize>columns * bytesOf(dtype);
  for (let slot = first * PANEL; slot < past * PANEL; slot++) {
    const key = keyIn(p, slot);
    if (key < 0) continue;
    rowOfSlices(sums + (<usize>slot << 5), sliceBytes, columns, factor, scratch + LAYOUT);
    const at = (<usize>batch * <usize>p.m + <usize>key) * <usize>p.g + <usize>head;
    storeRow(scratch + LAYOUT, to + at * row, dtype, columns);
  }
}

/** One tile of the queries' gradient, and of r's: the sums of all parts, in order. */
export function backwardReduce(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  const p = f.problem;
  if (p.r.address == 0) {
    reduce(f, task, f.sumsQ, f.gradQ, <f32>p.scale, scratch);
    return;
  }
  reduce(f, task, f.sumsQ, f.gradQ, 1, scratch);
  reduce(f, task, f.sumsR, f.gradR, 1, scratch);
}

function reduce(f: BackwardParams, task: i32, sums: usize, gradient: Contiguous, factor: f32, scratch: usize): void {
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

/** Elements of the tables that one task of `backwardTables` takes. */

/** Some elements of the gradients with respect to tables: the sums of all groups, in order. */
export function backwardTables(params: usize, task: i32, scratch: usize): void {
  const f = changetype<BackwardParams>(params);
  const elements = f.elements;
  for (let at = task * TABLE_RUN; at < min(elements, (task + 1) * TABLE_RUN); at++) {
    let sum: f64 = 0;
    for (let group: i32 = 0; group < f.groups; group++) {
      sum += f64.load(f.sumsOfTables + ((<usize>group * <usize>elements + <usize>at) << 3));
    }
    f32.store(f.gradTables + (<usize>at << 2), <f32>sum);
  }
}
