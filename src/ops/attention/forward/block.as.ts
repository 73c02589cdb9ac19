/** A block of keys against a tile of queries: scores, weights, weighted values. */
import { flagsOf, isFull, isSeen, patternAt, Segment, SEGMENT_BYTES, stretchesOf } from '../blocks.as';
import { callCode } from '../code.as';
import { Problem } from '../params.generated.as';
import { modify, writeKeys } from '../score/modifier.as';
import { ARGUMENTS, BLOCK, hookOf, KEYS, MAXIMA, MODIFIER, QUERIES, RESULT, SCORES, SEGMENTS, STRETCHES, SUMS } from './memory.as';
import { PANEL, SLICE, TILE } from '../../../runtime/cpu/params.generated.as';
import { addStretches, product, seenProduct, STORE, STORE_EXP, STRETCH_BYTES, UNSEEN } from '../../../runtime/wasm/assembly/product.as';
import { exp2Clamped, larger, seenLanes } from '../../../runtime/wasm/assembly/vector.as';

const LOG2E: f32 = 1.4426950408889634;

/**
 * Scores of a block's panels. `finish`, a constant, is STORE_EXP for weights 2^score and their sums, 0 for keys not
 * seen; STORE_MAX for scores and their maxima, very low for keys not seen; or STORE for scores alone.
 */
@inline
export function scoreBlock(
  p: Problem,
  keys: usize,
  d: i32,
  segments: i32,
  rows: i32,
  own: usize,
  scratch: usize,
  finish: i32,
  code: f64 = 0,
): void {
  const panelBytes = <usize>(d * PANEL * 4);
  let scores = scratch + SCORES;
  for (let at: i32 = 0; at < segments; at++) {
    const segment = changetype<Segment>(scratch + SEGMENTS + <usize>at * SEGMENT_BYTES);
    const pattern = patternAt(p, segment.pattern);
    const flags = flagsOf(pattern);
    let panel = keys + <usize>segment.first * panelBytes;
    if (code != 0 && rows > 2 * SLICE && isFull(flags, 0) && isFull(flags, 1) && isFull(flags, 2)) {
      const count = segment.past - segment.first;
      callCode(code, scratch + ARGUMENTS, count, d, 0, 1, panel, panelBytes, 0, own + QUERIES, scores, scratch + BLOCK, 0, 0, scratch);
      scores += <usize>(count * PANEL * TILE * 4);
      continue;
    }
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
export function fillScores(scores: usize, value: f32): void {
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
export function modifyBlock(p: Problem, segments: i32, rows: i32, own: usize, scratch: usize): bool {
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
          const score = f32x4.mul(v128.load(scores + lane), f32x4.splat(LOG2E));
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

export function addSums(own: usize, scratch: usize): void {
  for (let lane: usize = 0; lane < <usize>TILE * 4; lane += 16) {
    const sum = own + SUMS + lane;
    v128.store(sum, f32x4.add(v128.load(sum), v128.load(scratch + BLOCK + lane)));
  }
}

/** Takes the block's maxima into the running ones; where a maximum moved, shrinks what was summed under the old one. */
export function rescale<H>(rows: i32, slices: i32, own: usize, scratch: usize): void {
  for (let row: i32 = 0; row < rows; row += 4) {
    const lane = <usize>row << 2;
    const old = v128.load(own + MAXIMA + lane);
    const maximum = larger(old, v128.load(scratch + BLOCK + lane));
    if (!v128.any_true(f32x4.gt(maximum, old))) continue;
    const factor = exp2Clamped(f32x4.sub(old, maximum));
    v128.store(own + MAXIMA + lane, maximum);
    v128.store(own + SUMS + lane, f32x4.mul(v128.load(own + SUMS + lane), factor));
    scaleRows(own + RESULT + <usize>(row * SLICE * 4), slices, factor);
    hookOf<H>(own).rescale(row, slices, factor);
  }
}

/** Four rows of sums, [slices][24][8], times a factor each. */
@inline
export function scaleRows(result: usize, slices: i32, factor: v128): void {
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

@inline
function scaleRow(row: usize, factor: v128): void {
  v128.store(row, f32x4.mul(v128.load(row), factor));
  v128.store(row, f32x4.mul(v128.load(row, 16), factor), 16);
}

/** Scores of `keys` keys to weights 2^(score - maximum), and their sums. */
export function exponentiate(keys: i32, rows: i32, own: usize, scratch: usize, code: f64 = 0): void {
  if (code != 0 && rows > 2 * SLICE) {
    callCode(code, scratch + ARGUMENTS, keys, 0, 0, 0, 0, 0, 0, own + MAXIMA, scratch + SCORES, own + SUMS, 0, 0, scratch);
    return;
  }
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
export function weighValues(
  values: usize,
  sliceBytes: usize,
  panelBytes: usize,
  slices: i32,
  rows: i32,
  block: usize,
  result: usize,
  scratch: usize,
  code: f64 = 0,
): void {
  if (code != 0) {
    const groups = (rows + PANEL - 1) / PANEL;
    const at = scratch + ARGUMENTS;
    callCode(code, at, 0, 0, slices, groups, values, panelBytes, sliceBytes, 0, block, 0, scratch + STRETCHES, result, scratch);
    return;
  }
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

/** Eight columns of each slice [24][8] side by side, times a factor. */
@inline
export function rowOfSlices(from: usize, slices: i32, factor: f32, to: usize): void {
  const scale = f32x4.splat(factor);
  for (let s: i32 = 0; s < slices; s++, from += TILE * SLICE * 4, to += 32) {
    v128.store(to, f32x4.mul(v128.load(from), scale));
    v128.store(to, f32x4.mul(v128.load(from, 16), scale), 16);
  }
}


export function fill(vectors: usize, value: f32): void {
  const x = f32x4.splat(value);
  for (let lane: usize = 0; lane < <usize>TILE * 4; lane += 16) v128.store(vectors + lane, x);
}
