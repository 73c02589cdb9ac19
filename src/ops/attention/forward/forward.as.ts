/**
 * Exact softmax attention over the keys that a block map names.
 *
 * `packKeysValues` lays keys and values out once per key/value head, or a task of `attention` does so itself, where it takes
 * whole heads whose keys and values stay in its thread's cache. A task takes tiles of 24 queries through blocks of keys:
 * scores transposed, [keys][24 queries], so that everything about the softmax is vertical, then the weighted values with the
 * scores as they lie. Scores carry log2(e), so weights are powers of two.
 *
 * Where there is machine code (native.ts), it does the products and the exponentials of blocks that whole tiles see.
 *
 * How large scores can get, known from the norms of queries and keys, decides how a tile is computed:
 * - small: 2^score can neither overflow nor vanish, so there is no running maximum and nothing to rescale;
 * - ordinary: the usual running maximum;
 * - exceptional (huge, infinite or NaN inputs, or scores that a modifier makes infinite or NaN): plain float64 loops, so
 *   that such values propagate as they should.
 */
import { findStretches, mapOf, panelsBefore, Segment, SEGMENT_BYTES, SEGMENT_PATTERN, startWalk, takeSegments, tileAt, Walk } from '../blocks.as';
import { BLOCK_PANELS, EXTREMES_BYTES, ForwardParams, Problem } from '../params.generated.as';
import { openModifier } from '../score/modifier.as';
import { addSums, exponentiate, fill, modifyBlock, rescale, scoreBlock, weighValues } from './block.as';
import { exceptionalTile } from './exceptional.as';
import {
  BLOCK, FETCHED, FETCHED_BYTES, hookOf, LAYOUT, MAXIMA, MODIFIER, QUERIES, RESULT, SCORES, SEGMENTS, stateOf, STRETCHES,
  SUMS, TILE_BYTES, TILES, WALK,
} from './memory.as';
import { keyHeadOf, packedKeysOf, packedValuesOf, packHead, panelStep, sliceStep, slicesOf } from './pack.as';
import { fetchRows, layOutTile, PANEL_SLICE_BYTES, rowIn } from '../../../runtime/wasm/assembly/layout.as';
import { F32, PANEL, SLICE, TILE } from '../../../runtime/cpu/params.generated.as';
import { log } from '../../../runtime/wasm/assembly/scalar.as';
import { STORE, STORE_EXP, STORE_MAX } from '../../../runtime/wasm/assembly/product.as';
import { bytesOf, storeRow } from '../../../runtime/wasm/assembly/storage.as';

const SMALL_SCORE: f32 = 60;
const SMALL_VALUE: f32 = 1e12;
const ORDINARY_SCORE: f32 = 1e29;
const ORDINARY_VALUE: f32 = 1e28;
/** Below every ordinary score: the running maximum before any key. */
const NO_MAXIMUM: f32 = -1e30;
const LN2: f64 = 0.6931471805599453;
const LOG2E: f64 = 1.4426950408889634;

/**
 * Some tiles of 24 queries of one head, which go through the keys together, so that a block of these is in the cache for
 * all; or some tiles of all heads, one after the other, as neighbours share keys.
 */
export function attendTiles<H>(params: usize, task: i32, scratch: usize): void {
  const f = changetype<ForwardParams>(params);
  const p = f.problem;
  const tiles = p.tiles;
  const count = f.tilesOfTask;
  if (f.packedKeys == 0) {
    attentionOfHeads<H>(f, task, scratch);
    return;
  }
  const tasksOfHead = (tiles + count - 1) / count;
  const first = (task % tasksOfHead) * count;
  const past = min(first + count, tiles);
  if (!f.takesAllHeads) {
    attentionOfTiles<H>(f, task / tasksOfHead, first, past, scratch);
    return;
  }
  for (let place: i32 = 0; place < p.b * p.h; place++) {
    memory.fill(scratch + FETCHED, 0, FETCHED_BYTES);
    for (let rank = first; rank < past; rank++) attentionOfTiles<H>(f, place, rank, rank + 1, scratch);
  }
}

/** All tiles of some key/value heads, which lie side by side in memory: packed here, keys and values stay in the cache. */
function attentionOfHeads<H>(f: ForwardParams, task: i32, scratch: usize): void {
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
      for (let rank: i32 = 0; rank < p.tiles; rank++) attentionOfTiles<H>(f, place, rank, rank + 1, scratch);
    }
  }
}

/** The tiles of a head that stand at `first` and up to `past` in the order of its map. */
function attentionOfTiles<H>(f: ForwardParams, place: i32, first: i32, past: i32, scratch: usize): void {
  const p = f.problem;
  const map = mapOf(p, place);
  const panels = p.panels;
  const range = f.rangePanels;
  const tiles = scratch + TILES;
  const pastTiles = tiles + <usize>(past - first) * TILE_BYTES;
  for (let own = tiles; own < pastTiles; own += TILE_BYTES, first++) {
    openTile<H>(f, place, tileAt(p, map, first), own, scratch);
  }
  for (let pastPanel = range; pastPanel < panels + range; pastPanel += range) {
    for (let own = tiles; own < pastTiles; own += TILE_BYTES) {
      if (!stateOf(own).isDone) addKeys<H>(f, place, pastPanel, own, scratch);
    }
  }
  for (let own = tiles; own < pastTiles; own += TILE_BYTES) {
    if (!stateOf(own).isDone) storeTile<H>(f, place, own, scratch);
  }
}

/** Lays out the queries of a tile and begins its sums. */
function openTile<H>(f: ForwardParams, place: i32, tile: i32, own: usize, scratch: usize): void {
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
  const program = programOf<H>(p);
  const factor = <f32>(program ? p.scale : p.scale * LOG2E);
  const norm = layOutTile(q, batch, head, order, n, d, first, state.rows, factor, own + QUERIES, scratch + LAYOUT);
  const bound: f32 = sqrt(norm) * sqrt(keyNorm);
  const growth = hookOf<H>(own).open(f, batch, head, first, state.rows, keyNorm, scratch);
  if (program) openModifier(p, program, p.tables, batch, head, first, own + MODIFIER);
  if (!(bound <= ORDINARY_SCORE && growth <= ORDINARY_VALUE && largestValue * growth <= ORDINARY_VALUE)) {
    exceptionalTile<H>(f, place, own, scratch);
    return;
  }
  state.isSmall = !program && bound <= SMALL_SCORE && growth <= SMALL_VALUE && largestValue * growth <= SMALL_VALUE;
  fill(own + MAXIMA, state.isSmall ? 0 : NO_MAXIMUM);
  memory.fill(own + SUMS, 0, TILE * 4);
  memory.fill(own + RESULT, 0, <usize>(slicesOf(p) * SLICE * TILE * 4));
  startWalk(changetype<Walk>(own + WALK), p, place, tile);
  if (f.takesAllHeads) fetchPanels(f, place, own, scratch);
}

/** Takes a tile through what it sees of the panels before `pastPanel`, in blocks of even size. */
function addKeys<H>(f: ForwardParams, place: i32, pastPanel: i32, own: usize, scratch: usize): void {
  const p = f.problem;
  const d = p.d;
  const slices = slicesOf(p);
  const keys = packedKeysOf(f, place, scratch);
  const values = packedValuesOf(f, place, scratch);
  const state = stateOf(own);
  const rows = state.rows;
  const walk = changetype<Walk>(own + WALK);
  let left = panelsBefore(walk, p, pastPanel);
  const together = hookOf<H>(own).together(f);
  const most = (BLOCK_PANELS / together) * together;
  // Even in size: a short last block would waste the accumulators' way to memory and back.
  for (let blocks = (left + most - 1) / most; blocks > 0; blocks--) {
    const taken = blocks == 1 ? left : ((left + together - 1) / together / blocks) * together;
    left -= taken;
    const segments = takeSegments(walk, p, taken, scratch + SEGMENTS);
    if (changetype<H>(0).hasOwnWeights) hookOf<H>(own).weigh(f, place, segments, taken, rows, own, scratch);
    else if (state.isSmall) {
      fill(scratch + BLOCK, 0);
      scoreBlock(p, keys, d, segments, rows, own, scratch, STORE_EXP, f.weights);
      addSums(own, scratch);
    } else {
      fill(scratch + BLOCK, NO_MAXIMUM);
      if (programOf<H>(p) != 0) {
        scoreBlock(p, keys, d, segments, rows, own, scratch, STORE, f.scores);
        if (!modifyBlock(p, segments, rows, own, scratch)) {
          exceptionalTile<H>(f, place, own, scratch);
          return;
        }
      } else scoreBlock(p, keys, d, segments, rows, own, scratch, STORE_MAX, f.maxima);
      rescale<H>(rows, slices, own, scratch);
      exponentiate(taken * PANEL, rows, own, scratch, f.exponentials);
    }
    findStretches(p, scratch + SEGMENTS, SEGMENT_BYTES, SEGMENT_PATTERN, segments, scratch + STRETCHES);
    weighValues(values, sliceStep(f), panelStep(f), slices, rows, scratch + SCORES, own + RESULT, scratch, f.values);
    hookOf<H>(own).addBlock(f, place, segments, rows, own, scratch);
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

function storeTile<H>(f: ForwardParams, place: i32, own: usize, scratch: usize): void {
  const hook = hookOf<H>(own);
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
    hook.finishRow(f, r, at, result, slices, inverse, row, scratch);
    if (row != out) storeRow(row, out, dtype, e);
    const maximum = <f64>f32.load(own + MAXIMA + (r << 2));
    const lse = sum > 0 ? <f32>(maximum * LN2 + log(<f64>sum)) : -Infinity;
    f32.store(lses + (at << 2), lse);
  }
}

/** The score's program; 0, a constant, where there are none. */
@inline
function programOf<H>(p: Problem): usize {
  return changetype<H>(0).hasScores ? p.program : 0;
}
