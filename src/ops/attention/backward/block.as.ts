/** A block of keys against a pair of tiles: weights, gradients of the scores, and what they add to those of keys and queries. */
import { findStretches, flagsOf, isFull, isSeen, patternAt, stretchesOf, STRETCHES_BYTES } from '../blocks.as';
import { callCode } from '../code.as';
import { BackwardParams, Problem } from '../params.generated.as';
import { modify, MODIFIER_BYTES, writeKeys } from '../score/modifier.as';
import {
  ARGUMENTS, DELTAS, GRADIENT_ROWS, GRADIENTS, HALF, HALF_SLOPES, KEYS, LSES, MODIFIERS, PAIR, PANEL_ROWS, Part, QUERIES, QUERY_ROWS,
  RAW, RAW_BYTES, ROW, SEGMENTS, slicesOf, SLOPES, STRETCHES, SUMS, WEIGHTS,
} from './memory.as';
import { addToTables, copyRows } from './tables.as';
import { keysIn, LEFT_PATTERN, PAIR_SEGMENT_BYTES, pairSegment, pastRun, RIGHT_PATTERN } from './walk.as';
import { PANEL, SLICE, TILE } from '../../../runtime/cpu/params.generated.as';
import { PANEL_SLICE_BYTES } from '../../../runtime/wasm/assembly/layout.as';
import { ADD, product, STORE, STORE_EXP_LESS, STRETCH_BYTES, TILT_GRADIENTS, TIMES_LESS } from '../../../runtime/wasm/assembly/product.as';
import { exp2Clamped, seenLanes } from '../../../runtime/wasm/assembly/vector.as';

const GROUPS: i32 = PAIR / PANEL;
const LOG2E: f32 = 1.4426950408889634;

/** Adds what a block gives: five products a pair. */
export function addBlock(f: BackwardParams, t: Part, segments: i32, scratch: usize): void {
  const p = f.problem;
  if (p.program != 0) {
    multiplyBlock(p, t.keyPanels, p.d, segments, QUERIES, WEIGHTS, STORE, 0, WEIGHTS, scratch, f.scores);
    if (t.sumsOfTables) memory.copy(scratch + RAW, scratch + WEIGHTS, RAW_BYTES);
    modifyPair(p, min(2, p.tiles - t.tile), segments, scratch);
  } else multiplyBlock(p, t.keyPanels, p.d, segments, QUERIES, WEIGHTS, STORE_EXP_LESS, LSES, WEIGHTS, scratch, f.weights);
  addToKeys(t, t.sumsV, p.e, segments, WEIGHTS, GRADIENT_ROWS, scratch, f.ofKeys);
  // Weights to gradients of the scores: weight * (gradOut . value - delta).
  multiplyBlock(p, t.valuePanels, p.e, segments, GRADIENTS, WEIGHTS, TIMES_LESS, DELTAS, WEIGHTS, scratch, f.gradients);
  if (t.sumsOfTables) addToTables(f, t, segments, scratch);
  if (p.program != 0) timesSlopes(segments, scratch);
  addToKeys(t, t.sumsK, p.d, segments, WEIGHTS, QUERY_ROWS, scratch, f.ofKeys);
  addToQueries(p, t, segments, WEIGHTS, SUMS, scratch, f.ofQueries);
}

/**
 * Products of panels, [depth][6 keys] each, and the pair's `rows`, [6 slices][depth][8], at `to`, [keys][48]: of the slices that
 * see some key. `finish`, a constant, says what becomes of them and of those that see none, `aux` and `factors` what it takes
 * (product.as.ts).
 */
@inline
export function multiplyBlock(
  p: Problem,
  panels: usize,
  depth: i32,
  segments: i32,
  rows: usize,
  to: usize,
  finish: i32,
  aux: usize,
  factors: usize,
  scratch: usize,
  code: f64 = 0,
): void {
  if (code != 0) {
    multiplyByCode(p, panels, depth, segments, rows, to, finish, aux, scratch, code);
    return;
  }
  const panelBytes = <usize>(depth * PANEL * 4);
  let row = scratch;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = pairSegment(scratch + SEGMENTS, at);
    for (let x = segment.first; x < segment.past; x++, row += PANEL_ROWS) {
      const panel = panels + <usize>x * panelBytes;
      for (let s: i32 = 0; s < PAIR / SLICE; s++) {
        const index = s < TILE / SLICE ? segment.left : segment.right;
        if (index < 0) continue;
        const slice = s % (TILE / SLICE);
        const pattern = patternAt(p, index);
        const flags = flagsOf(pattern);
        const lane = row + (<usize>s << 5);
        if (isSeen(flags, slice)) {
          const own = scratch + rows + <usize>s * (<usize>depth << 5);
          product(panel, 24, false, own, depth, lane + to, ROW, finish, scratch + aux + (<usize>s << 5), 32, 0, 0, 0, 0, 0, lane + factors);
          if (finish == STORE_EXP_LESS && !isFull(flags, slice)) hideUnseen(lane + to, pattern, slice * SLICE);
        } else if (finish != TIMES_LESS && finish != TILT_GRADIENTS) fillZeros(lane + to);
      }
    }
  }
}

/** The same by machine code, one call for each run of segments; what is not seen is put right after it. */
@inline
function multiplyByCode(
  p: Problem,
  panels: usize,
  depth: i32,
  segments: i32,
  rows: usize,
  to: usize,
  finish: i32,
  aux: usize,
  scratch: usize,
  code: f64,
): void {
  const panelBytes = <usize>(depth * PANEL * 4);
  let row = scratch;
  for (let at: i32 = 0; at < segments;) {
    const start = pairSegment(scratch + SEGMENTS, at);
    const past = pastRun(scratch + SEGMENTS, at, segments);
    const count = pairSegment(scratch + SEGMENTS, past - 1).past - start.first;
    const skipped: usize = start.left < 0 ? TILE * 4 : 0;
    const tiles = i32(start.left >= 0) + i32(start.right >= 0);
    const own = scratch + rows + skipped * <usize>depth;
    const first = panels + <usize>start.first * panelBytes;
    const result = row + skipped + to;
    callCode(code, scratch + ARGUMENTS, count, depth, 0, tiles, first, panelBytes, 0, own, result, scratch + aux + skipped, 0, 0, scratch);
    for (; at < past; at++) {
      const segment = pairSegment(scratch + SEGMENTS, at);
      const bytes = <usize>(segment.past - segment.first) * PANEL_ROWS;
      for (let s: i32 = 0; s < PAIR / SLICE; s++) {
        const index = s < TILE / SLICE ? segment.left : segment.right;
        if (index < 0) continue;
        const slice = s % (TILE / SLICE);
        const pattern = patternAt(p, index);
        const flags = flagsOf(pattern);
        if (finish == STORE_EXP_LESS ? isFull(flags, slice) : isSeen(flags, slice)) continue;
        for (let lane = row + (<usize>s << 5) + to, end = lane + bytes; lane < end; lane += PANEL_ROWS) {
          if (finish == STORE_EXP_LESS) hideUnseen(lane, pattern, slice * SLICE);
          else fillZeros(lane);
        }
      }
      row += bytes;
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

function hideUnseen(weights: usize, pattern: usize, query: i32): void {
  for (const past = pattern + PANEL * 4; pattern < past; pattern += 4, weights += ROW) {
    const bits = i32.load(pattern) >> query;
    v128.store(weights, v128.and(v128.load(weights), seenLanes(bits)));
    v128.store(weights, v128.and(v128.load(weights, 16), seenLanes(bits >> 4)), 16);
  }
}

/** Working memory of the program of a tile of a pair; that of its derivative follows. */
@inline
export function modifierOf(tile: i32, scratch: usize): usize {
  return scratch + MODIFIERS + <usize>(2 * tile) * MODIFIER_BYTES;
}

/** Scores of a block to weights by the program, 0 for keys not seen, and the program's slopes. */
function modifyPair(p: Problem, tiles: i32, segments: i32, scratch: usize): void {
  let keys = scratch + KEYS;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = pairSegment(scratch + SEGMENTS, at);
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
      const segment = pairSegment(scratch + SEGMENTS, at);
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

/** Gradients of the modified scores to those of the scores; 0 stays 0, whatever the slope of a key not seen. */
function timesSlopes(segments: i32, scratch: usize): void {
  const bytes = <usize>keysIn(scratch + SEGMENTS, segments) * ROW;
  const zero = f32x4.splat(0);
  for (let at: usize = 0; at < bytes; at += 16) {
    const gradient = v128.load(scratch + WEIGHTS + at);
    const product = f32x4.mul(gradient, v128.load(scratch + SLOPES + at));
    v128.store(scratch + WEIGHTS + at, v128.andnot(product, f32x4.eq(gradient, zero)));
  }
}

/** sums[keys] += weights rows, over the queries of the tiles that see a panel; weights and rows lie in working memory. */
export function addToKeys(
  t: Part,
  sums: usize,
  columns: i32,
  segments: i32,
  block: usize,
  rows: usize,
  scratch: usize,
  code: f64 = 0,
): void {
  const slices = slicesOf(columns);
  let weights = scratch + block;
  rows += scratch;
  for (let at: i32 = 0; at < segments;) {
    const segment = pairSegment(scratch + SEGMENTS, at);
    const skipped = segment.left < 0 ? TILE : 0;
    const queries = PAIR - skipped - (segment.right < 0 ? TILE : 0);
    const first = weights + (<usize>skipped << 2);
    at = pastRun(scratch + SEGMENTS, at, segments);
    const count = pairSegment(scratch + SEGMENTS, at - 1).past - segment.first;
    let to = sums + (<usize>(segment.first * PANEL) << 5);
    let slice = rows + (<usize>skipped << 5);
    if (code != 0) callCode(code, scratch + ARGUMENTS, count, queries, slices, 0, slice, 0, t.sliceBytes, 0, first, 0, 0, to, scratch);
    else for (let s: i32 = 0; s < slices; s++, slice += 8 * ROW, to += t.sliceBytes) addProducts(first, slice, queries, to, count);
    weights += <usize>count * PANEL_ROWS;
  }
}

function addProducts(weights: usize, rows: usize, depth: i32, to: usize, panels: i32): void {
  for (; panels > 0; panels--, weights += PANEL_ROWS, to += PANEL * 32) {
    product(weights, 4, true, rows, depth, to, 32, ADD, 0);
  }
}

/** sums[queries] += gradients^T keys, six queries at a time, over the stretches of keys that they see. */
export function addToQueries(
  p: Problem,
  t: Part,
  segments: i32,
  block: usize,
  sums: usize,
  scratch: usize,
  code: f64 = 0,
): void {
  const slices = slicesOf(p.d);
  const stretches = scratch + STRETCHES;
  const found = scratch + SEGMENTS;
  findStretches(p, found, PAIR_SEGMENT_BYTES, LEFT_PATTERN, segments, stretches);
  findStretches(p, found, PAIR_SEGMENT_BYTES, RIGHT_PATTERN, segments, stretches + STRETCHES_BYTES);
  if (code != 0) {
    callCode(
      code, scratch + ARGUMENTS, 0, 0, slices, GROUPS, t.keySlices, PANEL_SLICE_BYTES, t.sliceBytes, 0, scratch + block, 0, stretches,
      scratch + sums, scratch,
    );
    return;
  }
  for (let group: i32 = 0; group < GROUPS; group++) {
    const list = stretchesOf(stretches, group);
    const first = list + 4;
    const past = first + <usize>i32.load(list) * STRETCH_BYTES;
    if (first == past) continue;
    const weights = scratch + block + <usize>(group * PANEL * 4);
    let to = scratch + sums + <usize>(group * PANEL * 32);
    let keys = t.keySlices;
    for (let s = slices; s > 0; s--, keys += t.sliceBytes, to += 8 * ROW) {
      product(weights, ROW, false, keys, 0, to, 32, ADD, 0, 32, first, past, PANEL_SLICE_BYTES);
    }
  }
}
