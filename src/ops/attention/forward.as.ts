/**
 * Exact softmax attention over the keys that a block map names.
 *
 * `pack` lays keys and values out once per key/value head, or a task of `attention` does so itself, where it takes whole
 * heads whose keys and values stay in its thread's cache; a task takes tiles of 24 queries through blocks of keys: scores transposed, [keys][24 queries], so that everything about the softmax is vertical, then
 * the weighted values with the scores as they lie. Scores carry log2(e), so weights are powers of two.
 *
 * How large scores can get, known from the norms of queries and keys, decides how a tile is computed:
 * - small: 2^score can neither overflow nor vanish, so there is no running maximum and nothing to rescale;
 * - ordinary: the usual running maximum;
 * - exceptional (huge, infinite or NaN inputs, or scores that a modifier makes infinite or NaN): plain float64 loops, so
 *   that such values propagate as they should.
 */
import {
  findStretches,
  flagsOf,
  isFull,
  isSeen,
  keyIn,
  panelsBefore,
  patternAt,
  queryIn,
  Segment,
  SEGMENT_BYTES,
  startWalk,
  STRETCHES_BYTES,
  stretchesOf,
  takeSegments,
  tileAt,
  Walk,
} from './blocks.as';
import { BLOCK_PANELS, EXTREMES_BYTES, ForwardParams, MOST_TOGETHER, PACKED_BYTES, Problem } from './params.generated.as';
import {
  fetchRows,
  LAYOUT_BYTES,
  layOutPanels,
  layOutSlices,
  layOutTile,
  PANEL_SLICE_BYTES,
  rowAddress,
  rowIn,
} from '../../runtime/wasm/assembly/layout.as';
import { CHUNK_PANELS, F32, LARGEST_HEAD, Operand, PANEL, SLICE, TILE } from '../../runtime/wasm/params.generated.as';
import { modify, MODIFIER_BYTES, openModifier, writeKeys } from './modifier.as';
import { exp, log } from '../../runtime/wasm/assembly/scalar.as';
import { addStretches, product, seenProduct, STORE, STORE_EXP, STORE_MAX, STRETCH_BYTES, tiltedProduct, UNSEEN } from '../../runtime/wasm/assembly/product.as';
import { bytesOf, loadElement, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { exp2Clamped, larger, madd, seenLanes } from '../../runtime/wasm/assembly/vector.as';

const SMALL_SCORE: f32 = 60;
const SMALL_VALUE: f32 = 1e12;
const ORDINARY_SCORE: f32 = 1e29;
const ORDINARY_VALUE: f32 = 1e28;
/** Below every ordinary score: the running maximum before any key. */
const NO_MAXIMUM: f32 = -1e30;
const LN2: f64 = 0.6931471805599453;
const LOG2E: f64 = 1.4426950408889634;

/**
 * Keys and values of one chunk of one batch: keys to panels [d][6 keys], values to panels' slices [6 keys][8 columns].
 * Each head's largest squared key norm and largest value magnitude become at least theirs, NaN if there is one.
 */
export function pack(params: usize, task: i32, scratch: usize): void {
  const f = changetype<ForwardParams>(params);
  const p = f.problem;
  const g = p.g;
  const m = p.m;
  const d = p.d;
  const e = p.e;
  const panels = p.panels;
  const chunks = (panels + CHUNK_PANELS - 1) / CHUNK_PANELS;
  const batch = task / chunks;
  const chunk = task % chunks;
  const past = min((chunk + 1) * CHUNK_PANELS, panels);
  const panelBytes = <usize>(d * PANEL * 4);
  const slices = (e + SLICE - 1) / SLICE;
  const valueBytes = <usize>slices * PANEL_SLICE_BYTES;
  const slice = sliceStep(f, panels);
  const panel = panelStep(f, slices);
  const order = p.keys;
  const k = p.k;
  const v = p.v;
  // Two panels of keys, then of values, through all heads: rows lie side by side, and so are a few ascending streams.
  for (let first = chunk * CHUNK_PANELS; first < past; first += 2) {
    const last = min(first + 2, past);
    for (let bg = batch * g; bg < (batch + 1) * g; bg++) {
      const to = f.packedKeys + <usize>(bg * panels) * panelBytes;
      const norm = layOutPanels(k, batch, bg % g, order, m, d, first, last, to, scratch);
      atomicMax(f.extremes + <usize>(bg * EXTREMES_BYTES), norm);
    }
    for (let bg = batch * g; bg < (batch + 1) * g; bg++) {
      const to = f.packedValues + <usize>(bg * panels) * valueBytes;
      const value = layOutSlices(v, batch, bg % g, order, m, e, first, last, to, slice, panel, scratch);
      atomicMax(f.extremes + <usize>(bg * EXTREMES_BYTES) + 4, value);
    }
  }
}

/**
 * Of packed values, from a slice to the next and from a panel to the next. Where tiles see keys here and there, a panel's
 * slices lie side by side; else a slice's panels do, which are then read through.
 */
// @ts-ignore: decorator
@inline
function sliceStep(f: ForwardParams, panels: i32): usize {
  return f.takesAllHeads ? PANEL_SLICE_BYTES : <usize>panels * PANEL_SLICE_BYTES;
}

// @ts-ignore: decorator
@inline
function panelStep(f: ForwardParams, slices: i32): usize {
  return f.takesAllHeads ? <usize>slices * PANEL_SLICE_BYTES : PANEL_SLICE_BYTES;
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

// One worker's working memory: what its tiles share,
const SCORES: usize = 0; // [336 keys][24]
const LAYOUT: usize = SCORES + BLOCK_PANELS * PANEL * TILE * 4; // also one row of the result
const BLOCK: usize = LAYOUT + LAYOUT_BYTES; // [24]: maxima or sums of the block at hand
const SEGMENTS: usize = BLOCK + TILE * 4;
const STRETCHES: usize = SEGMENTS + <usize>BLOCK_PANELS * SEGMENT_BYTES;
const KEYS: usize = (STRETCHES + STRETCHES_BYTES + 15) & ~15; // [336] i32: the keys of the block at hand
const SINGLE: usize = KEYS + <usize>(BLOCK_PANELS * PANEL * 4); // [24]: one key's scores
const TILTED: usize = SINGLE + TILE * 4; // [336 keys][24]: weights times the products of keys with r
const FETCHED: usize = TILTED + <usize>(BLOCK_PANELS * PANEL * TILE * 4); // a byte for each panel; many panels share one, which matters little
const FETCHED_BYTES: i32 = 8192;
const TILES: usize = (FETCHED + <usize>FETCHED_BYTES + 63) & ~63;
// and what each has to itself.
const QUERIES: usize = 0; // [3 slices][d][8]
const RESULT: usize = QUERIES + TILE * LARGEST_HEAD * 4; // [slices of e][24][8]
const MAXIMA: usize = RESULT + TILE * LARGEST_HEAD * 4; // [24]
const SUMS: usize = MAXIMA + TILE * 4; // [24]
const STATE: usize = SUMS + TILE * 4;
const WALK: usize = STATE + 16;
const MODIFIER: usize = WALK + 16;
// Of Parallax, alike: r, the sums of tilted values, and those of the tilted weights.
const PROBES: usize = (MODIFIER + MODIFIER_BYTES + 15) & ~15;
const TILTED_RESULT: usize = PROBES + TILE * LARGEST_HEAD * 4;
const TILTED_SUMS: usize = TILTED_RESULT + TILE * LARGEST_HEAD * 4;
const TILE_BYTES: usize = (TILTED_SUMS + TILE * 4 + 63) & ~63;
/** Keys and then values of one head, where the task packs them: in the place of tiles that would go together. */
const PACKED: usize = TILES + TILE_BYTES;
export const FORWARD_BYTES: usize = max(TILES + <usize>MOST_TOGETHER * TILE_BYTES, PACKED + <usize>PACKED_BYTES + 64);

/** Of a tile under way. */
@unmanaged
class State {
  tile: i32;
  rows: i32;
  /** Scores are so small that there is no running maximum. */
  isSmall: bool;
  /** Its result is written already. */
  isDone: bool;
}

// @ts-ignore: decorator
@inline
function stateOf(own: usize): State {
  return changetype<State>(own + STATE);
}

/**
 * Some tiles of 24 queries of one head, which go through the keys together, so that a block of these is in the cache for
 * all; or some tiles of all heads, one after the other, as neighbours share keys.
 */
export function attention(params: usize, task: i32, scratch: usize): void {
  const f = changetype<ForwardParams>(params);
  const p = f.problem;
  const tiles = p.tiles;
  const count = f.tilesOfTask;
  if (f.packedKeys == 0) {
    attentionOfHeads(f, task, scratch);
    return;
  }
  const tasksOfHead = (tiles + count - 1) / count;
  const first = (task % tasksOfHead) * count;
  const past = min(first + count, tiles);
  if (!f.takesAllHeads) {
    attentionOfTiles(f, task / tasksOfHead, first, past, scratch);
    return;
  }
  for (let place: i32 = 0; place < p.b * p.h; place++) {
    memory.fill(scratch + FETCHED, 0, FETCHED_BYTES);
    for (let rank = first; rank < past; rank++) attentionOfTiles(f, place, rank, rank + 1, scratch);
  }
}

/** All tiles of some key/value heads, which lie side by side in memory: packed here, keys and values stay in the cache. */
function attentionOfHeads(f: ForwardParams, task: i32, scratch: usize): void {
  const p = f.problem;
  const g = p.g;
  const shared = p.h / g;
  const first = task * f.headsOfTask;
  const past = min(first + f.headsOfTask, p.b * g);
  const sink = scratch + LAYOUT;
  fetchRows(p.k, g, first, past, 0, p.m, p.d, sink);
  fetchRows(p.v, g, first, past, 0, p.m, p.e, sink);
  fetchRows(p.q, p.h, first * shared, past * shared, 0, p.n, p.d, sink);
  for (let bg = first; bg < past; bg++) {
    packHead(f, bg, scratch);
    for (let place = bg * shared; place < (bg + 1) * shared; place++) {
      for (let rank: i32 = 0; rank < p.tiles; rank++) attentionOfTiles(f, place, rank, rank + 1, scratch);
    }
  }
}

/** What `pack` does, of one key/value head into working memory. */
function packHead(f: ForwardParams, bg: i32, scratch: usize): void {
  const p = f.problem;
  const g = p.g;
  const m = p.m;
  const panels = p.panels;
  const order = p.keys;
  const layout = scratch + LAYOUT;
  const keys = scratch + PACKED;
  const values = valuesBehind(p, keys);
  const norm = layOutPanels(p.k, bg / g, bg % g, order, m, p.d, 0, panels, keys, layout);
  const slice = sliceStep(f, panels);
  const v = p.v;
  const value = layOutSlices(
    v,
    bg / g,
    bg % g,
    order,
    m,
    p.e,
    0,
    panels,
    values,
    slice,
    PANEL_SLICE_BYTES,
    layout,
  );
  const extremes = f.extremes + <usize>(bg * EXTREMES_BYTES);
  f32.store(extremes, norm);
  f32.store(extremes, value, 4);
}

/** The tiles of a head that stand at `first` and up to `past` in the order of its map. */
function attentionOfTiles(f: ForwardParams, place: i32, first: i32, past: i32, scratch: usize): void {
  const p = f.problem;
  const map = mapOf(p, place);
  const panels = p.panels;
  const range = f.rangePanels;
  const tiles = scratch + TILES;
  const pastTiles = tiles + <usize>(past - first) * TILE_BYTES;
  for (let own = tiles; own < pastTiles; own += TILE_BYTES, first++) {
    openTile(f, place, tileAt(p, map, first), own, scratch);
  }
  for (let pastPanel = range; pastPanel < panels + range; pastPanel += range) {
    for (let own = tiles; own < pastTiles; own += TILE_BYTES) {
      if (!stateOf(own).isDone) addKeys(f, place, pastPanel, own, scratch);
    }
  }
  for (let own = tiles; own < pastTiles; own += TILE_BYTES) {
    if (!stateOf(own).isDone) storeTile(f, place, own, scratch);
  }
}

/** Lays out the queries of a tile and begins its sums. */
function openTile(f: ForwardParams, place: i32, tile: i32, own: usize, scratch: usize): void {
  const p = f.problem;
  const d = p.d;
  const h = p.h;
  const n = p.n;
  const batch = place / h;
  const head = place % h;
  const order = p.queries;
  const first = tile * TILE;
  const state = stateOf(own);
  state.tile = tile;
  state.rows = min(TILE, (order ? p.tiles * TILE : n) - first);
  state.isDone = false;

  const extremes = f.extremes + <usize>(keyHeadOf(p, place) * EXTREMES_BYTES);
  const keyNorm = f32.load(extremes);
  const largestValue = f32.load(extremes, 4);
  const q = p.q;
  const program = p.program;
  const factor = <f32>(program ? p.scale : p.scale * LOG2E);
  const norm = layOutTile(q, batch, head, order, n, d, first, state.rows, factor, own + QUERIES, scratch + LAYOUT);
  const bound: f32 = sqrt(norm) * sqrt(keyNorm);
  // What the largest value is multiplied with.
  let tilt: f32 = 1;
  if (p.r.address) {
    const squared = layOutTile(p.r, batch, head, order, n, d, first, state.rows, 1, own + PROBES, scratch + LAYOUT);
    const product: f32 = sqrt(squared) * sqrt(keyNorm);
    tilt = product > 1 || product != product ? product : 1;
    memory.fill(own + TILTED_SUMS, 0, TILE * 4);
    memory.fill(own + TILTED_RESULT, 0, <usize>(slicesOf(p) * SLICE * TILE * 4));
  }
  if (program) openModifier(p, program, p.tables, batch, head, first, own + MODIFIER);
  if (!(bound <= ORDINARY_SCORE && tilt <= ORDINARY_VALUE && largestValue * tilt <= ORDINARY_VALUE)) {
    exceptionalTile(f, place, own, scratch);
    return;
  }
  state.isSmall = !program && bound <= SMALL_SCORE && tilt <= SMALL_VALUE && largestValue * tilt <= SMALL_VALUE;
  fill(own + MAXIMA, state.isSmall ? 0 : NO_MAXIMUM);
  memory.fill(own + SUMS, 0, TILE * 4);
  memory.fill(own + RESULT, 0, <usize>(slicesOf(p) * SLICE * TILE * 4));
  startWalk(changetype<Walk>(own + WALK), p, mapOf(p, place), tile);
  if (f.takesAllHeads) fetchPanels(f, place, own, scratch);
}

/** Takes a tile through what it sees of the panels before `pastPanel`, in blocks of even size. */
function addKeys(f: ForwardParams, place: i32, pastPanel: i32, own: usize, scratch: usize): void {
  const p = f.problem;
  const d = p.d;
  const panels = p.panels;
  const slices = slicesOf(p);
  const keys = packedKeysOf(f, place, scratch);
  const values = packedValuesOf(f, place, scratch);
  const state = stateOf(own);
  const rows = state.rows;
  const walk = changetype<Walk>(own + WALK);
  let left = panelsBefore(walk, p, pastPanel);
  // Of even size: a short last block would waste the accumulators' way to memory and back.
  for (let blocks = (left + BLOCK_PANELS - 1) / BLOCK_PANELS; blocks > 0; blocks--) {
    const taken = left / blocks;
    left -= taken;
    const segments = takeSegments(walk, p, taken, scratch + SEGMENTS);
    if (state.isSmall) {
      fill(scratch + BLOCK, 0);
      scoreBlock(p, keys, d, segments, rows, own, scratch, STORE_EXP);
      addSums(own, scratch);
    } else {
      fill(scratch + BLOCK, NO_MAXIMUM);
      if (p.program != 0) {
        scoreBlock(p, keys, d, segments, rows, own, scratch, STORE);
        if (!modifyBlock(p, segments, rows, own, scratch)) {
          exceptionalTile(f, place, own, scratch);
          return;
        }
      } else scoreBlock(p, keys, d, segments, rows, own, scratch, STORE_MAX);
      rescale(rows, slices, p.r.address != 0, own, scratch);
      exponentiate(taken * PANEL, rows, own, scratch);
    }
    findStretches(p, scratch + SEGMENTS, segments, scratch + STRETCHES);
    const slice = sliceStep(f, panels);
    const panel = panelStep(f, slices);
    weighValues(values, slice, panel, slices, rows, scratch + SCORES, own + RESULT, scratch);
    if (p.r.address) {
      tiltBlock(p, keys, d, segments, rows, own, scratch);
      weighValues(values, slice, panel, slices, rows, scratch + TILTED, own + TILTED_RESULT, scratch);
    }
  }
}

/** Weights of a block times the products of its keys with r, and their sums. */
function tiltBlock(p: Problem, keys: usize, d: i32, segments: i32, rows: i32, own: usize, scratch: usize): void {
  const panelBytes = <usize>(d * PANEL * 4);
  let offset: usize = 0;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<Segment>(scratch + SEGMENTS + <usize>at * SEGMENT_BYTES);
    const flags = flagsOf(patternAt(p, segment.pattern));
    let panel = keys + <usize>segment.first * panelBytes;
    for (const past = keys + <usize>segment.past * panelBytes; panel < past; panel += panelBytes) {
      for (let s: i32 = 0; s * SLICE < rows; s++) {
        const probes = own + PROBES + <usize>s * (<usize>d << 5);
        const lane = <usize>s << 5;
        const to = scratch + TILTED + offset + lane;
        const weights = scratch + SCORES + offset + lane;
        if (isSeen(flags, s)) tiltedProduct(panel, probes, d, to, own + TILTED_SUMS + lane, weights);
        else fillScores(to, 0);
      }
      offset += PANEL * TILE * 4;
    }
  }
}

// @ts-ignore: decorator
@inline
function mapOf(p: Problem, place: i32): i32 {
  return i32.load(p.maps + (<usize>place << 2));
}

/** The key/value head, through all batches, of a query head. */
// @ts-ignore: decorator
@inline
function keyHeadOf(p: Problem, place: i32): i32 {
  return <i32>((<i64>place * <i64>p.g) / <i64>p.h);
}

// @ts-ignore: decorator
@inline
function slicesOf(p: Problem): i32 {
  return (p.e + SLICE - 1) / SLICE;
}

// @ts-ignore: decorator
@inline
function packedKeysOf(f: ForwardParams, place: i32, scratch: usize): usize {
  const p = f.problem;
  if (f.packedKeys == 0) return scratch + PACKED;
  const panels = keyHeadOf(p, place) * p.panels;
  return f.packedKeys + <usize>panels * <usize>(p.d * PANEL * 4);
}

// @ts-ignore: decorator
@inline
function packedValuesOf(f: ForwardParams, place: i32, scratch: usize): usize {
  const p = f.problem;
  if (f.packedKeys == 0) return valuesBehind(p, scratch + PACKED);
  const panels = keyHeadOf(p, place) * p.panels;
  return f.packedValues + <usize>panels * <usize>slicesOf(p) * PANEL_SLICE_BYTES;
}

/** Where the values of a head begin whose packed keys lie at `keys`. */
// @ts-ignore: decorator
@inline
function valuesBehind(p: Problem, keys: usize): usize {
  return (keys + <usize>(p.panels * p.d * PANEL * 4) + 63) & ~63;
}

/**
 * Scores of a block's panels. `finish`, a constant, is STORE_EXP for weights 2^score and their sums, 0 for keys not
 * seen; STORE_MAX for scores and their maxima, very low for keys not seen; or STORE for scores alone.
 */
// @ts-ignore: decorator
@inline
function scoreBlock(
  p: Problem,
  keys: usize,
  d: i32,
  segments: i32,
  rows: i32,
  own: usize,
  scratch: usize,
  finish: i32,
): void {
  const panelBytes = <usize>(d * PANEL * 4);
  let scores = scratch + SCORES;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<Segment>(scratch + SEGMENTS + <usize>at * SEGMENT_BYTES);
    const pattern = patternAt(p, segment.pattern);
    const flags = flagsOf(pattern);
    let panel = keys + <usize>segment.first * panelBytes;
    for (const past = keys + <usize>segment.past * panelBytes; panel < past; panel += panelBytes) {
      for (let s: i32 = 0; s * SLICE < rows; s++) {
        const queries = own + QUERIES + <usize>s * (<usize>d << 5);
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
function modifyBlock(p: Problem, segments: i32, rows: i32, own: usize, scratch: usize): bool {
  // Lanes behind the last query hold what an earlier tile left there.
  const queries = (1 << rows) - 1;
  let keys = scratch + KEYS;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<Segment>(scratch + SEGMENTS + <usize>at * SEGMENT_BYTES);
    keys = writeKeys(p, segment.first, segment.past, keys);
  }
  let scores = scratch + SCORES;
  let exceptional = i32x4.splat(0);
  const count = <i32>((keys - scratch - KEYS) >> 2);
  modify(p.program, own + MODIFIER, scores, scores, scratch + KEYS, count);
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<Segment>(scratch + SEGMENTS + <usize>at * SEGMENT_BYTES);
    const pattern = patternAt(p, segment.pattern);
    for (let panel = segment.first; panel < segment.past; panel++) {
      for (let key: i32 = 0; key < PANEL; key++, scores += TILE * 4) {
        const word = i32.load(pattern + (<usize>key << 2)) & queries;
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

function addSums(own: usize, scratch: usize): void {
  for (let lane: usize = 0; lane < <usize>TILE * 4; lane += 16) {
    const sum = own + SUMS + lane;
    v128.store(sum, f32x4.add(v128.load(sum), v128.load(scratch + BLOCK + lane)));
  }
}

/** Takes the block's maxima into the running ones; where a maximum moved, shrinks what was summed under the old one. */
function rescale(rows: i32, slices: i32, isTilted: bool, own: usize, scratch: usize): void {
  for (let row: i32 = 0; row < rows; row += 4) {
    const lane = <usize>row << 2;
    const old = v128.load(own + MAXIMA + lane);
    const maximum = larger(old, v128.load(scratch + BLOCK + lane));
    if (!v128.any_true(f32x4.gt(maximum, old))) continue;
    const factor = exp2Clamped(f32x4.sub(old, maximum));
    v128.store(own + MAXIMA + lane, maximum);
    v128.store(own + SUMS + lane, f32x4.mul(v128.load(own + SUMS + lane), factor));
    scaleRows(own + RESULT + <usize>(row * SLICE * 4), slices, factor);
    if (!isTilted) continue;
    v128.store(own + TILTED_SUMS + lane, f32x4.mul(v128.load(own + TILTED_SUMS + lane), factor));
    scaleRows(own + TILTED_RESULT + <usize>(row * SLICE * 4), slices, factor);
  }
}

/** Four rows of sums, [slices][24][8], times a factor each. */
function scaleRows(result: usize, slices: i32, factor: v128): void {
    const f0 = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
    const f1 = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
    const f2 = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
    const f3 = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
    for (let s: i32 = 0; s < slices; s++, result += TILE * SLICE * 4) {
      scaleRow(result, f0);
      scaleRow(result + 32, f1);
      scaleRow(result + 64, f2);
      scaleRow(result + 96, f3);
    }
}

// @ts-ignore: decorator
@inline
function scaleRow(row: usize, factor: v128): void {
  v128.store(row, f32x4.mul(v128.load(row), factor));
  v128.store(row, f32x4.mul(v128.load(row, 16), factor), 16);
}

/** Scores of `keys` keys to weights 2^(score - maximum), and their sums. */
function exponentiate(keys: i32, rows: i32, own: usize, scratch: usize): void {
  const lanes = <usize>((rows + SLICE - 1) / SLICE) << 5;
  for (let lane: usize = 0; lane < lanes; lane += 32) {
    const m0 = v128.load(own + MAXIMA + lane);
    const m1 = v128.load(own + MAXIMA + lane + 16);
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
    const sums = own + SUMS + lane;
    v128.store(sums, f32x4.add(v128.load(sums), sum0));
    v128.store(sums, f32x4.add(v128.load(sums, 16), sum1), 16);
  }
}

/** result += weights^T values for a block of weights [keys][24]; six queries at a time, over the stretches of keys they see. */
function weighValues(
  values: usize,
  sliceBytes: usize,
  panelBytes: usize,
  slices: i32,
  rows: i32,
  block: usize,
  result: usize,
  scratch: usize,
): void {
  for (let s: i32 = 0; s < slices; s++, values += sliceBytes, result += TILE * SLICE * 4) {
    for (let group: i32 = 0; group * PANEL < rows; group++) {
      const list = stretchesOf(scratch + STRETCHES, group);
      const first = list + 4;
      const past = first + <usize>i32.load(list) * STRETCH_BYTES;
      if (first == past) continue;
      const weights = block + <usize>(group * PANEL * 4);
      const to = result + <usize>(group * PANEL * SLICE * 4);
      addStretches(weights, values, panelBytes, first, past, to);
    }
  }
}

/**
 * Brings what a tile sees, and none before it in its task saw, into the cache: all at once, since each page of memory
 * costs a wait that products would take one by one.
 */
function fetchPanels(f: ForwardParams, place: i32, own: usize, scratch: usize): void {
  const p = f.problem;
  const walk = changetype<Walk>(own + WALK);
  const keys = packedKeysOf(f, place, scratch);
  const values = packedValuesOf(f, place, scratch);
  const keyBytes = <usize>(p.d * PANEL * 4);
  const valueBytes = <usize>slicesOf(p) * PANEL_SLICE_BYTES;
  const runs = p.runs;
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

function storeTile(f: ForwardParams, place: i32, own: usize, scratch: usize): void {
  const p = f.problem;
  const e = p.e;
  const dtype = f.out.dtype;
  const slices = slicesOf(p);
  const h = <usize>p.h;
  const n = p.n;
  const batch = <usize>place / h;
  const head = <usize>place % h;
  const order = p.queries;
  const state = stateOf(own);
  const first = state.tile * TILE;
  const outs = f.out.address;
  const lses = f.lse;
  const rowBytes = <usize>e * bytesOf(dtype);
  for (let r: i32 = 0; r < state.rows; r++) {
    const query = rowIn(first + r, order, n);
    if (query < 0) continue;
    const at = (batch * <usize>n + <usize>query) * h + head;
    const out = outs + at * rowBytes;
    const row = dtype == F32 && e % SLICE == 0 ? out : scratch + LAYOUT;
    const sum = f32.load(own + SUMS + (r << 2));
    const inverse: f32 = sum > 0 ? 1 / sum : 0;
    const result = own + RESULT + (<usize>r << 5);
    if (p.r.address == 0) rowOfSlices(result, slices, inverse, row);
    else {
      const level = f32.load(own + TILTED_SUMS + (r << 2)) * inverse;
      rowOfSlices(result, slices, inverse, scratch + LAYOUT);
      storeRow(scratch + LAYOUT, f.mean + at * (<usize>e << 2), F32, e);
      f32.store(f.level + (at << 2), level);
      rowOfSlices(result, slices, inverse * (1 + level), row);
      addSlices(own + TILTED_RESULT + (<usize>r << 5), slices, -inverse, row);
    }
    if (row != out) storeRow(row, out, dtype, e);
    const maximum = <f64>f32.load(own + MAXIMA + (r << 2));
    const lse = sum > 0 ? <f32>(maximum * LN2 + log(<f64>sum)) : -Infinity;
    f32.store(lses + (at << 2), lse);
  }
}

/** Eight columns of each slice [24][8] side by side, times a factor. */
// @ts-ignore: decorator
@inline
function rowOfSlices(from: usize, slices: i32, factor: f32, to: usize): void {
  const scale = f32x4.splat(factor);
  for (let s: i32 = 0; s < slices; s++, from += TILE * SLICE * 4, to += 32) {
    v128.store(to, f32x4.mul(v128.load(from), scale));
    v128.store(to, f32x4.mul(v128.load(from, 16), scale), 16);
  }
}

function addSlices(from: usize, slices: i32, factor: f32, to: usize): void {
  const scale = f32x4.splat(factor);
  for (let s: i32 = 0; s < slices; s++, from += TILE * SLICE * 4, to += 32) {
    v128.store(to, madd(v128.load(from), scale, v128.load(to)));
    v128.store(to, madd(v128.load(from, 16), scale, v128.load(to, 16)), 16);
  }
}

function fill(vectors: usize, value: f32): void {
  const x = f32x4.splat(value);
  for (let lane: usize = 0; lane < <usize>TILE * 4; lane += 16) v128.store(vectors + lane, x);
}

/** Writes the result of a tile whose inputs or scores are exceptional, in the place of all that it has summed. */
function exceptionalTile(f: ForwardParams, place: i32, own: usize, scratch: usize): void {
  const state = stateOf(own);
  state.isDone = true;
  for (let r: i32 = 0; r < state.rows; r++) exceptionalRow(f, place, r, own, scratch);
}

/** One query in float64, in the order of the definition; infinities and NaN take their course. */
function exceptionalRow(f: ForwardParams, place: i32, r: i32, own: usize, scratch: usize): void {
  const p = f.problem;
  const q = p.q;
  const k = p.k;
  const v = p.v;
  const d = p.d;
  const e = p.e;
  const h = p.h;
  const batch = place / h;
  const head = place % h;
  const group = keyHeadOf(p, place) - batch * p.g;
  const tile = stateOf(own).tile;
  const i = queryIn(p, tile * TILE + r);
  if (i < 0) return;
  const query = rowAddress(q, batch, i, head);
  const sums = own + RESULT;
  memory.fill(sums, 0, <usize>e << 3);

  // Twice over the keys: first for the largest score, then for the sums; of Parallax once more, for the tilted ones.
  const isTilted = p.r.address != 0;
  const probe = isTilted ? rowAddress(p.r, batch, i, head) : 0;
  const at = (<usize>batch * <usize>p.n + <usize>i) * <usize>h + <usize>head;
  const row = scratch + LAYOUT;
  let level: f64 = 0;
  const tileRuns = p.tileRuns + (<usize>(mapOf(p, place) * p.tiles + tile) << 3);
  const runs = p.runs + <usize>i32.load(tileRuns) * SEGMENT_BYTES;
  const pastRuns = runs + <usize>i32.load(tileRuns, 4) * SEGMENT_BYTES;
  let largest: f64 = -Infinity;
  let total: f64 = 0;
  let seesAny = false;
  const passes = isTilted ? 3 : 2;
  for (let pass: i32 = 0; pass < passes; pass++) {
    if (pass == 2) {
      level /= total;
      f32.store(f.level + (at << 2), seesAny ? <f32>level : 0);
      for (let c: i32 = 0; c < e; c++) f32.store(row + (c << 2), seesAny ? <f32>(f64.load(sums + (c << 3)) / total) : 0);
      storeRow(row, f.mean + at * (<usize>e << 2), F32, e);
      memory.fill(sums, 0, <usize>e << 3);
    }
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
          modify(p.program, own + MODIFIER, scratch + SINGLE, scratch + SINGLE, scratch + KEYS, 1);
          score = <f64>f32.load(scratch + SINGLE + (r << 2));
          // A modifier hides keys by -Infinity, and whatever their values are.
          if (score == -Infinity) continue;
        }
        if (pass == 0) {
          largest = max(largest, score);
          seesAny = true;
          continue;
        }
        let weight = exp(score - largest);
        if (pass == 1) total += weight;
        if (isTilted) {
          const product = dot(p.r, probe, k, rowAddress(k, batch, j, group), d);
          if (pass == 1) level += weight * product;
          else weight *= 1 + level - product;
        }
        let value = rowAddress(v, batch, j, group);
        for (let c: i32 = 0; c < e; c++, value += v.element * bytesOf(v.dtype)) {
          const sum = sums + (c << 3);
          f64.store(sum, f64.load(sum) + weight * <f64>loadElement(value, v.dtype));
        }
      }
    }
  }

  const dtype = f.out.dtype;
  for (let c: i32 = 0; c < e; c++) f32.store(row + (c << 2), seesAny ? <f32>(f64.load(sums + (c << 3)) / total) : 0);
  storeRow(row, f.out.address + at * <usize>e * bytesOf(dtype), dtype, e);
  f32.store(f.lse + (at << 2), seesAny ? <f32>(largest + log(total)) : -Infinity);
}

function dot(q: Operand, query: usize, k: Operand, key: usize, d: i32): f64 {
  let sum: f64 = 0;
  for (let c: i32 = 0; c < d; c++) {
    sum += <f64>loadElement(query, q.dtype) * <f64>loadElement(key, k.dtype);
    query += q.element * bytesOf(q.dtype);
    key += k.element * bytesOf(k.dtype);
  }
  return sum;
}

