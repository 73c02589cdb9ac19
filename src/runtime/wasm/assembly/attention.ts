/**
 * Exact softmax attention over the keys that a block map names.
 *
 * `pack` lays keys and values out once per key/value head; each task of `attention` then takes a tile of 24 queries
 * through blocks of keys: scores transposed, [keys][24 queries], so that everything about the softmax is vertical, then
 * the weighted values with the scores as they lie. Scores carry log2(e), so weights are powers of two.
 *
 * How large scores can get, known from the norms of queries and keys, decides how a tile is computed:
 * - small: 2^score can neither overflow nor vanish, so there is no running maximum and nothing to rescale;
 * - ordinary: the usual running maximum;
 * - exceptional (huge, infinite or NaN inputs, or scores that a modifier makes infinite or NaN): plain float64 loops, so
 *   that such values propagate as they should.
 */
import {
  BLOCK_PANELS,
  findStretches,
  flagsOf,
  isFull,
  isSeen,
  keyIn,
  operand,
  OPERAND_BYTES,
  OPERANDS_AT,
  patternAt,
  Problem,
  queryIn,
  Segment,
  SEGMENT_BYTES,
  startWalk,
  STRETCHES_BYTES,
  stretchesOf,
  takeSegments,
  tileAt,
  Walk,
} from './blocks';
import {
  CHUNK_PANELS,
  LARGEST_HEAD,
  LAYOUT_BYTES,
  layOutPanels,
  layOutSlices,
  layOutTile,
  Operand,
  PANEL,
  PANEL_SLICE_BYTES,
  rowAddress,
  rowIn,
  SLICE,
  TILE,
} from './layout';
import { modify, MODIFIER_BYTES, openModifier, writeKeys } from './modifier';
import { exp, log } from './scalar';
import { addStretches, product, seenProduct, STORE, STORE_EXP, STORE_MAX, STRETCH_BYTES, UNSEEN } from './product';
import { bytesOf, loadElement, storeRow } from './storage';
import { exp2, exp2Clamped, larger, seenLanes } from './vector';

const SMALL_SCORE: f32 = 60;
const SMALL_VALUE: f32 = 1e12;
const ORDINARY_SCORE: f32 = 1e29;
const ORDINARY_VALUE: f32 = 1e28;
/** Below every ordinary score: the running maximum before any key. */
const NO_MAXIMUM: f32 = -1e30;
const LN2: f64 = 0.6931471805599453;
const LOG2E: f64 = 1.4426950408889634;

/** What follows the problem and its operands. */
@unmanaged
class Forward {
  out: f64;
  outDType: f64;
  lse: f64;
  packedKeys: f64;
  packedValues: f64;
  extremes: f64;
  /** Tiles that a task takes for each head of all batches in turn; 0 where a task is one tile of one head. */
  tilesOfTask: f64;
}

// @ts-ignore: decorator
@inline
function forwardOf(params: usize): Forward {
  return changetype<Forward>(params + OPERANDS_AT + 3 * OPERAND_BYTES);
}

/**
 * Keys and values of one chunk of one batch: keys to panels [d][6 keys], values to panels' slices [6 keys][8 columns].
 * Each head's largest squared key norm and largest value magnitude become at least theirs, NaN if there is one.
 */
export function pack(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const f = forwardOf(params);
  const g = <i32>p.g;
  const m = <i32>p.m;
  const d = <i32>p.d;
  const e = <i32>p.e;
  const panels = <i32>p.panels;
  const chunks = (panels + CHUNK_PANELS - 1) / CHUNK_PANELS;
  const batch = task / chunks;
  const chunk = task % chunks;
  const past = min((chunk + 1) * CHUNK_PANELS, panels);
  const panelBytes = <usize>(d * PANEL * 4);
  const slices = (e + SLICE - 1) / SLICE;
  const valueBytes = <usize>slices * PANEL_SLICE_BYTES;
  const slice = sliceStep(f, panels);
  const panel = panelStep(f, slices);
  const order = <usize>p.keys;
  const k = operand(params, 1);
  const v = operand(params, 2);
  // Two panels of keys, then of values, through all heads: rows lie side by side, and so are a few ascending streams.
  for (let first = chunk * CHUNK_PANELS; first < past; first += 2) {
    const last = min(first + 2, past);
    for (let bg = batch * g; bg < (batch + 1) * g; bg++) {
      const to = <usize>f.packedKeys + <usize>(bg * panels) * panelBytes;
      const norm = layOutPanels(k, batch, bg % g, order, m, d, first, last, to, scratch);
      atomicMax(<usize>f.extremes + (<usize>bg << 3), norm);
    }
    for (let bg = batch * g; bg < (batch + 1) * g; bg++) {
      const to = <usize>f.packedValues + <usize>(bg * panels) * valueBytes;
      const value = layOutSlices(v, batch, bg % g, order, m, e, first, last, to, slice, panel, scratch);
      atomicMax(<usize>f.extremes + (<usize>bg << 3) + 4, value);
    }
  }
}

/**
 * Of packed values, from a slice to the next and from a panel to the next. Where tiles see keys here and there, a panel's
 * slices lie side by side; else a slice's panels do, which are then read through.
 */
// @ts-ignore: decorator
@inline
function sliceStep(f: Forward, panels: i32): usize {
  return f.tilesOfTask > 0 ? PANEL_SLICE_BYTES : <usize>panels * PANEL_SLICE_BYTES;
}

// @ts-ignore: decorator
@inline
function panelStep(f: Forward, slices: i32): usize {
  return f.tilesOfTask > 0 ? <usize>slices * PANEL_SLICE_BYTES : PANEL_SLICE_BYTES;
}

/** A magnitude that threads share becomes at least `value`. As integers magnitudes order alike, and NaN is the largest. */
function atomicMax(magnitude: usize, value: f32): void {
  const wanted = reinterpret<i32>(value) & 0x7fffffff;
  for (let known = atomic.load<i32>(magnitude); known < wanted; ) {
    const found = atomic.cmpxchg<i32>(magnitude, known, wanted);
    if (found == known) return;
    known = found;
  }
}

// One worker's working memory.
const QUERIES: usize = 0; // [3 slices][d][8]
const SCORES: usize = QUERIES + TILE * LARGEST_HEAD * 4; // [336 keys][24]
const RESULT: usize = SCORES + BLOCK_PANELS * PANEL * TILE * 4; // [slices of e][24][8]
const LAYOUT: usize = RESULT + TILE * LARGEST_HEAD * 4; // also one row of the result
const MAXIMA: usize = LAYOUT + LAYOUT_BYTES; // [24]
const SUMS: usize = MAXIMA + TILE * 4; // [24]
const BLOCK: usize = SUMS + TILE * 4; // [24]: maxima or sums of the block at hand
const WALK: usize = BLOCK + TILE * 4;
const SEGMENTS: usize = WALK + 16;
const STRETCHES: usize = SEGMENTS + <usize>BLOCK_PANELS * SEGMENT_BYTES;
const KEYS: usize = (STRETCHES + STRETCHES_BYTES + 15) & ~15; // [336] i32: the keys of the block at hand
const MODIFIER: usize = KEYS + <usize>(BLOCK_PANELS * PANEL * 4);
const SINGLE: usize = MODIFIER + MODIFIER_BYTES; // [24]: one key's scores
const FETCHED: usize = SINGLE + TILE * 4; // a byte for each panel; many panels share one, which matters little
const FETCHED_BYTES: i32 = 8192;
export const FORWARD_BYTES: usize = FETCHED + <usize>FETCHED_BYTES;

/** One tile of 24 queries of one head, or some of all heads: of one after the other, as neighbours share keys. */
export function attention(params: usize, task: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const tiles = <i32>p.tiles;
  const tilesOfTask = <i32>forwardOf(params).tilesOfTask;
  if (tilesOfTask == 0) {
    attentionOfTile(params, task / tiles, task % tiles, scratch);
    return;
  }
  const first = task * tilesOfTask;
  const past = min(first + tilesOfTask, tiles);
  for (let place: i32 = 0; place < <i32>(p.b * p.h); place++) {
    memory.fill(scratch + FETCHED, 0, FETCHED_BYTES);
    for (let rank = first; rank < past; rank++) attentionOfTile(params, place, rank, scratch);
  }
}

/** The tile of a head that stands at `rank` in the order of its map. */
function attentionOfTile(params: usize, place: i32, rank: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const f = forwardOf(params);
  const h = <i32>p.h;
  const d = <i32>p.d;
  const e = <i32>p.e;
  const batch = place / h;
  const head = place % h;
  const group = <i32>((<i64>head * <i64>p.g) / h);
  const map = i32.load(<usize>p.maps + (<usize>place << 2));
  const tile = tileAt(p, map, rank);
  const first = tile * TILE;
  const slots = p.queries != 0 ? <i32>p.tiles * TILE : <i32>p.n;
  const rows = min(TILE, slots - first);

  const bg = batch * <i32>p.g + group;
  const panels = <i32>p.panels;
  const extremes = <usize>f.extremes + (<usize>bg << 3);
  const keyNorm = f32.load(extremes);
  const largestValue = f32.load(extremes, 4);
  const q = operand(params, 0);
  const program = <usize>p.program;
  const factor = <f32>(program ? p.scale : p.scale * LOG2E);
  const order = <usize>p.queries;
  const n = <i32>p.n;
  const queryNorm = layOutTile(q, batch, head, order, n, d, first, rows, factor, scratch + QUERIES, scratch + LAYOUT);
  const bound: f32 = sqrt(queryNorm) * sqrt(keyNorm);
  if (program) openModifier(p, program, <usize>p.tables, batch, head, first, scratch + MODIFIER);

  if (!(bound <= ORDINARY_SCORE && largestValue <= ORDINARY_VALUE)) {
    for (let r: i32 = 0; r < rows; r++) exceptionalRow(params, batch, head, group, map, tile, r, scratch);
    return;
  }

  const slices = (e + SLICE - 1) / SLICE;
  memory.fill(scratch + RESULT, 0, <usize>(slices * SLICE * TILE * 4));
  memory.fill(scratch + SUMS, 0, TILE * 4);
  const small = !program && bound <= SMALL_SCORE && largestValue <= SMALL_VALUE;
  fill(scratch + MAXIMA, small ? 0 : NO_MAXIMUM);

  const keys = <usize>f.packedKeys + <usize>(bg * panels) * <usize>(d * PANEL * 4);
  const values = <usize>f.packedValues + <usize>(bg * panels) * (<usize>slices * PANEL_SLICE_BYTES);
  const walk = changetype<Walk>(scratch + WALK);
  startWalk(walk, p, map, tile);
  if (f.tilesOfTask > 0) fetchPanels(p, walk, keys, d, values, slices, scratch);
  // Blocks of even size: a short last one would waste the accumulators' way to memory and back.
  for (let block = (walk.left + BLOCK_PANELS - 1) / BLOCK_PANELS; block > 0; block--) {
    const taken = walk.left / block;
    const segments = takeSegments(walk, p, taken, scratch + SEGMENTS);
    if (small) {
      fill(scratch + BLOCK, 0);
      scoreBlock(p, keys, d, segments, rows, scratch, STORE_EXP);
      addSums(scratch);
    } else {
      fill(scratch + BLOCK, NO_MAXIMUM);
      if (program) {
        scoreBlock(p, keys, d, segments, rows, scratch, STORE);
        if (!modifyBlock(p, segments, scratch)) {
          for (let r: i32 = 0; r < rows; r++) exceptionalRow(params, batch, head, group, map, tile, r, scratch);
          return;
        }
      } else scoreBlock(p, keys, d, segments, rows, scratch, STORE_MAX);
      rescale(rows, slices, scratch);
      exponentiate(taken * PANEL, rows, scratch);
    }
    findStretches(p, scratch + SEGMENTS, segments, scratch + STRETCHES);
    weighValues(values, sliceStep(f, panels), panelStep(f, slices), slices, rows, scratch);
  }
  storeTile(params, batch, first, rows, head, scratch);
}

/**
 * Scores of a block's panels. `finish`, a constant, is STORE_EXP for weights 2^score and their sums, 0 for keys not
 * seen; STORE_MAX for scores and their maxima, very low for keys not seen; or STORE for scores alone.
 */
// @ts-ignore: decorator
@inline
function scoreBlock(p: Problem, keys: usize, d: i32, segments: i32, rows: i32, scratch: usize, finish: i32): void {
  const panelBytes = <usize>(d * PANEL * 4);
  let scores = scratch + SCORES;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<Segment>(scratch + SEGMENTS + <usize>at * SEGMENT_BYTES);
    const pattern = patternAt(p, segment.pattern);
    const flags = flagsOf(pattern);
    let panel = keys + <usize>segment.first * panelBytes;
    for (const past = keys + <usize>segment.past * panelBytes; panel < past; panel += panelBytes) {
      for (let s: i32 = 0; s * SLICE < rows; s++) {
        const queries = scratch + QUERIES + <usize>s * (<usize>d << 5);
        const lane = <usize>s << 5;
        const to = scores + lane;
        const block = scratch + BLOCK + lane;
        if (isFull(flags, s)) product(panel, 24, false, queries, d, to, 96, finish, block);
        else if (isSeen(flags, s)) {
          if (finish == STORE) product(panel, 24, false, queries, d, to, 96, STORE, 0);
          else seenProduct(panel, queries, d, to, finish, block, pattern, s * SLICE);
        } else if (finish != STORE) fillScores(to, finish == STORE_EXP ? 0 : UNSEEN);
      }
      scores += PANEL * TILE * 4;
    }
  }
}

/** The six scores of eight queries each. */
function fillScores(scores: usize, value: f32): void {
  const x = f32x4.splat(value);
  for (const end = scores + PANEL * TILE * 4; scores < end; scores += 96) {
    v128.store(scores, x);
    v128.store(scores, x, 16);
  }
}

/**
 * What the program makes of a block's scores, times log2(e), very low for keys not seen; and their maxima. Returns
 * whether no key that is seen got NaN or infinity.
 */
function modifyBlock(p: Problem, segments: i32, scratch: usize): bool {
  let keys = scratch + KEYS;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<Segment>(scratch + SEGMENTS + <usize>at * SEGMENT_BYTES);
    keys = writeKeys(p, segment.first, segment.past, keys);
  }
  let scores = scratch + SCORES;
  let exceptional = i32x4.splat(0);
  const count = <i32>((keys - scratch - KEYS) >> 2);
  modify(<usize>p.program, scratch + MODIFIER, scores, scores, scratch + KEYS, count);
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<Segment>(scratch + SEGMENTS + <usize>at * SEGMENT_BYTES);
    const pattern = patternAt(p, segment.pattern);
    for (let panel = segment.first; panel < segment.past; panel++) {
      for (let key: i32 = 0; key < PANEL; key++, scores += TILE * 4) {
        const word = i32.load(pattern + (<usize>key << 2));
        for (let query: i32 = 0; query < TILE; query += 4) {
          const lane = <usize>query << 2;
          const score = f32x4.mul(v128.load(scores + lane), f32x4.splat(<f32>LOG2E));
          const lanes = seenLanes(word >> query);
          const seen = v128.bitselect(score, f32x4.splat(UNSEEN), lanes);
          exceptional = v128.or(exceptional, v128.andnot(lanes, f32x4.le(score, f32x4.splat(f32.MAX_VALUE))));
          v128.store(scores + lane, seen);
          v128.store(scratch + BLOCK + lane, larger(v128.load(scratch + BLOCK + lane), seen));
        }
      }
    }
  }
  return !v128.any_true(exceptional);
}

function addSums(scratch: usize): void {
  for (let lane: usize = 0; lane < <usize>TILE * 4; lane += 16) {
    const sum = scratch + SUMS + lane;
    v128.store(sum, f32x4.add(v128.load(sum), v128.load(scratch + BLOCK + lane)));
  }
}

/** Takes the block's maxima into the running ones; where a maximum moved, shrinks what was summed under the old one. */
function rescale(rows: i32, slices: i32, scratch: usize): void {
  for (let row: i32 = 0; row < rows; row += 4) {
    const lane = <usize>row << 2;
    const old = v128.load(scratch + MAXIMA + lane);
    const maximum = larger(old, v128.load(scratch + BLOCK + lane));
    if (!v128.any_true(f32x4.gt(maximum, old))) continue;
    const factor = exp2Clamped(f32x4.sub(old, maximum));
    v128.store(scratch + MAXIMA + lane, maximum);
    v128.store(scratch + SUMS + lane, f32x4.mul(v128.load(scratch + SUMS + lane), factor));
    const f0 = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
    const f1 = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
    const f2 = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
    const f3 = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
    let result = scratch + RESULT + <usize>(row * SLICE * 4);
    for (let s: i32 = 0; s < slices; s++, result += TILE * SLICE * 4) {
      scaleRow(result, f0);
      scaleRow(result + 32, f1);
      scaleRow(result + 64, f2);
      scaleRow(result + 96, f3);
    }
  }
}

// @ts-ignore: decorator
@inline
function scaleRow(row: usize, factor: v128): void {
  v128.store(row, f32x4.mul(v128.load(row), factor));
  v128.store(row, f32x4.mul(v128.load(row, 16), factor), 16);
}

/** Scores of `keys` keys to weights 2^(score - maximum), and their sums. */
function exponentiate(keys: i32, rows: i32, scratch: usize): void {
  const lanes = <usize>((rows + SLICE - 1) / SLICE) << 5;
  for (let lane: usize = 0; lane < lanes; lane += 32) {
    const m0 = v128.load(scratch + MAXIMA + lane);
    const m1 = v128.load(scratch + MAXIMA + lane + 16);
    let sum0 = f32x4.splat(0);
    let sum1 = sum0;
    let scores = scratch + SCORES + lane;
    for (const end = scores + <usize>keys * 96; scores < end; scores += 96) {
      const w0 = exp2Clamped(f32x4.sub(v128.load(scores), m0));
      const w1 = exp2Clamped(f32x4.sub(v128.load(scores, 16), m1));
      v128.store(scores, w0);
      v128.store(scores, w1, 16);
      sum0 = f32x4.add(sum0, w0);
      sum1 = f32x4.add(sum1, w1);
    }
    const sums = scratch + SUMS + lane;
    v128.store(sums, f32x4.add(v128.load(sums), sum0));
    v128.store(sums, f32x4.add(v128.load(sums, 16), sum1), 16);
  }
}

/** result += weights^T values for a block; six queries at a time, over the stretches of keys they see. */
function weighValues(
  values: usize,
  sliceBytes: usize,
  panelBytes: usize,
  slices: i32,
  rows: i32,
  scratch: usize,
): void {
  let result = scratch + RESULT;
  for (let s: i32 = 0; s < slices; s++, values += sliceBytes, result += TILE * SLICE * 4) {
    for (let group: i32 = 0; group * PANEL < rows; group++) {
      const list = stretchesOf(scratch + STRETCHES, group);
      const first = list + 4;
      const past = first + <usize>i32.load(list) * STRETCH_BYTES;
      if (first == past) continue;
      const weights = scratch + SCORES + <usize>(group * PANEL * 4);
      const to = result + <usize>(group * PANEL * SLICE * 4);
      addStretches(weights, values, panelBytes, first, past, to);
    }
  }
}

/**
 * Brings what a tile sees, and none before it in its task saw, into the cache: all at once, since each page of memory
 * costs a wait that products would take one by one.
 */
function fetchPanels(p: Problem, walk: Walk, keys: usize, d: i32, values: usize, slices: i32, scratch: usize): void {
  const keyBytes = <usize>(d * PANEL * 4);
  const valueBytes = <usize>slices * PANEL_SLICE_BYTES;
  const runs = <usize>p.runs;
  let sum = f32x4.splat(0);
  for (let at = walk.run; at < walk.pastRun; at++) {
    const run = changetype<Segment>(runs + <usize>at * SEGMENT_BYTES);
    for (let panel = run.first; panel < run.past; panel++) {
      const fetched = scratch + FETCHED + <usize>(panel & (FETCHED_BYTES - 1));
      if (load<u8>(fetched)) continue;
      store<u8>(fetched, 1);
      let from = keys + <usize>panel * keyBytes;
      for (const past = from + keyBytes; from < past; from += 64) sum = v128.xor(sum, v128.load(from));
      from = values + <usize>panel * valueBytes;
      for (const past = from + valueBytes; from < past; from += 64) sum = v128.xor(sum, v128.load(from));
    }
  }
  v128.store(scratch + LAYOUT, sum);
}

function storeTile(params: usize, batch: i32, first: i32, rows: i32, head: i32, scratch: usize): void {
  const p = changetype<Problem>(params);
  const f = forwardOf(params);
  const e = <i32>p.e;
  const dtype = <i32>f.outDType;
  const slices = (e + SLICE - 1) / SLICE;
  const h = <usize>p.h;
  const n = <i32>p.n;
  const order = <usize>p.queries;
  const outs = <usize>f.out;
  const lses = <usize>f.lse;
  const rowBytes = <usize>e * bytesOf(dtype);
  for (let r: i32 = 0; r < rows; r++) {
    const query = rowIn(first + r, order, n);
    if (query < 0) continue;
    const at = (<usize>batch * <usize>n + <usize>query) * h + <usize>head;
    const out = outs + at * rowBytes;
    const row = dtype == 0 && e % SLICE == 0 ? out : scratch + LAYOUT;
    const sum = f32.load(scratch + SUMS + (r << 2));
    const inverse = f32x4.splat(sum > 0 ? 1 / sum : 0);
    let result = scratch + RESULT + (<usize>r << 5);
    for (let s: i32 = 0; s < slices; s++, result += TILE * SLICE * 4) {
      v128.store(row + (s << 5), f32x4.mul(v128.load(result), inverse));
      v128.store(row + (s << 5), f32x4.mul(v128.load(result, 16), inverse), 16);
    }
    if (row != out) storeRow(row, out, dtype, e);
    const maximum = <f64>f32.load(scratch + MAXIMA + (r << 2));
    const lse = sum > 0 ? <f32>(maximum * LN2 + log(<f64>sum)) : -Infinity;
    f32.store(lses + (at << 2), lse);
  }
}

function fill(vectors: usize, value: f32): void {
  const x = f32x4.splat(value);
  for (let lane: usize = 0; lane < <usize>TILE * 4; lane += 16) v128.store(vectors + lane, x);
}

/** One query in float64, in the order of the definition; infinities and NaN take their course. */
function exceptionalRow(
  params: usize,
  batch: i32,
  head: i32,
  group: i32,
  map: i32,
  tile: i32,
  r: i32,
  scratch: usize,
): void {
  const p = changetype<Problem>(params);
  const f = forwardOf(params);
  const q = operand(params, 0);
  const k = operand(params, 1);
  const v = operand(params, 2);
  const d = <i32>p.d;
  const e = <i32>p.e;
  const i = queryIn(p, tile * TILE + r);
  if (i < 0) return;
  const query = rowAddress(q, batch, i, head);
  const sums = scratch + RESULT;
  memory.fill(sums, 0, <usize>e << 3);

  // Twice over the keys: first for the largest score, then for the sums.
  const tileRuns = <usize>p.tileRuns + (<usize>(map * <i32>p.tiles + tile) << 3);
  const runs = <usize>p.runs + <usize>i32.load(tileRuns) * SEGMENT_BYTES;
  const pastRuns = runs + <usize>i32.load(tileRuns, 4) * SEGMENT_BYTES;
  let largest: f64 = -Infinity;
  let total: f64 = 0;
  let seesAny = false;
  for (let pass: i32 = 0; pass < 2; pass++) {
    for (let at = runs; at < pastRuns; at += SEGMENT_BYTES) {
      const run = changetype<Segment>(at);
      const pattern = patternAt(p, run.pattern);
      for (let slot = run.first * PANEL; slot < run.past * PANEL; slot++) {
        if (!((i32.load(pattern + (<usize>(slot % PANEL) << 2)) >> r) & 1)) continue;
        const j = keyIn(p, slot);
        let score = p.scale * dot(q, query, k, rowAddress(k, batch, j, group), d);
        if (p.program != 0) {
          f32.store(scratch + SINGLE + (r << 2), <f32>score);
          i32.store(scratch + KEYS, j);
          modify(<usize>p.program, scratch + MODIFIER, scratch + SINGLE, scratch + SINGLE, scratch + KEYS, 1);
          score = <f64>f32.load(scratch + SINGLE + (r << 2));
        }
        if (pass == 0) {
          largest = max(largest, score);
          // A modifier hides keys by -Infinity.
          if (p.program == 0 || score != -Infinity) seesAny = true;
          continue;
        }
        const weight = exp(score - largest);
        total += weight;
        let value = rowAddress(v, batch, j, group);
        for (let c: i32 = 0; c < e; c++, value += <usize>v.element * bytesOf(<i32>v.dtype)) {
          const sum = sums + (c << 3);
          f64.store(sum, f64.load(sum) + weight * <f64>loadElement(value, <i32>v.dtype));
        }
      }
    }
  }

  const dtype = <i32>f.outDType;
  const at = (<usize>batch * <usize>p.n + <usize>i) * <usize>p.h + <usize>head;
  const row = scratch + LAYOUT;
  for (let c: i32 = 0; c < e; c++) f32.store(row + (c << 2), seesAny ? <f32>(f64.load(sums + (c << 3)) / total) : 0);
  storeRow(row, <usize>f.out + at * <usize>e * bytesOf(dtype), dtype, e);
  f32.store(<usize>f.lse + (at << 2), seesAny ? <f32>(largest + log(total)) : -Infinity);
}

function dot(q: Operand, query: usize, k: Operand, key: usize, d: i32): f64 {
  let sum: f64 = 0;
  for (let c: i32 = 0; c < d; c++) {
    sum += <f64>loadElement(query, <i32>q.dtype) * <f64>loadElement(key, <i32>k.dtype);
    query += <usize>q.element * bytesOf(<i32>q.dtype);
    key += <usize>k.element * bytesOf(<i32>k.dtype);
  }
  return sum;
}

