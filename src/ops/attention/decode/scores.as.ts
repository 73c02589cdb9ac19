/** Scores [keys][4 rows] of a block, and what becomes of them. */
import { CHUNK, ROW_BYTES } from '../../../expressions/params.generated.as';
import { DecodeParams } from '../params.generated.as';
import { beginTile, Block, runProgram } from '../score/program.as';
import {
  BLOCK, EXCEPTIONAL, hookOf, KEY_NUMBERS, LOG2E, MAXIMA, MODIFIED, ORDINARY, PROGRAM, QUERY_NUMBERS, rowOf, SCORES, SUMS,
} from './memory.as';
import { PANEL, TILE } from '../../../runtime/cpu/params.generated.as';
import { UNSEEN } from '../../../runtime/wasm/assembly/product.as';
import { exp2Clamped, larger } from '../../../runtime/wasm/assembly/vector.as';

/** Each key's numbers times its scale. */
export function scaleScores(count: i32, scales: usize, scratch: usize): void {
  for (let j: i32 = 0; j < count; j++) {
    const at = scratch + SCORES + (<usize>j << 4);
    v128.store(at, f32x4.mul(v128.load(at), v128.load32_splat(scales + (<usize>j << 2))));
  }
}

/** Keys whose bit is not set in their word are hidden from that query. */
export function hideUnseen<H>(p: DecodeParams, group: i32, key: i32, count: i32, words: i32, scratch: usize): void {
  const n = p.n;
  const rows = changetype<H>(0).queries;
  for (let j: i32 = 0; j < count; j++) {
    const word = i32.load(p.words + (<usize>(words * PANEL + ((key + j) % PANEL)) << 2));
    for (let r: i32 = 0; r < rows; r++) {
      if (!((word >> ((group * rows + r) % n)) & 1)) f32.store(scratch + SCORES + (<usize>(j * 4 + r) << 2), UNSEEN);
    }
  }
}

/** What the row's program makes of the scores: its lanes are keys, its rows the queries of a head. */
export function modifyScores(p: DecodeParams, batch: i32, head: i32, group: i32, key: i32, count: i32, scratch: usize): void {
  const row = rowOf(p, batch);
  const program = i32.load(row, 4);
  const block = changetype<Block>(scratch + BLOCK);
  const n = p.n;
  const shared = p.h / p.g;
  block.queries = scratch + KEY_NUMBERS;
  block.keys = scratch + QUERY_NUMBERS;
  block.scores = scratch + MODIFIED;
  block.out = scratch + MODIFIED;
  block.batch = batch;
  block.tables = i32.load(row, 8);
  block.scratch = scratch + PROGRAM;
  for (let first: i32 = 0; first < count; first += TILE) {
    const keys = min(TILE, count - first);
    for (let j: i32 = 0; j < TILE; j++) i32.store(scratch + KEY_NUMBERS + (<usize>j << 2), key + first + min(j, keys - 1));
    // Rows of one head after the other.
    for (let r: i32 = 0; r < 4; ) {
      const at = group * 4 + r;
      if (at >= shared * n) break;
      const rows = min(4 - r, n - (at % n));
      block.head = head * shared + at / n;
      block.rows = rows;
      for (let i: i32 = 0; i < rows; i++) {
        i32.store(scratch + QUERY_NUMBERS + (<usize>i << 2), (at % n) + i);
        for (let j: i32 = 0; j < keys; j++)
          f32.store(scratch + MODIFIED + <usize>i * ROW_BYTES + (<usize>j << 2), f32.load(scratch + SCORES + (<usize>((first + j) * 4 + r + i) << 2)));
      }
      beginTile(program, block);
      runProgram(program, block);
      for (let i: i32 = 0; i < rows; i++) {
        for (let j: i32 = 0; j < keys; j++)
          f32.store(scratch + SCORES + (<usize>((first + j) * 4 + r + i) << 2), <f32>LOG2E * f32.load(scratch + MODIFIED + <usize>i * ROW_BYTES + (<usize>j << 2)));
      }
      r += rows;
    }
  }
}

/** Scores to weights 2^(score - maximum) in their place, with their sums; what was summed before shrinks as maxima move. */
export function weigh<H>(count: i32, columns: i32, part: usize, state: usize, scratch: usize): void {
  const hook = hookOf<H>(scratch);
  const scores = scratch + SCORES;
  const end = scores + (<usize>count << 4);
  const old = v128.load(state, MAXIMA);
  let maxima = old;
  let exceptional = v128.load(state, EXCEPTIONAL);
  for (let at = scores; at < end; at += 16) {
    const x = v128.load(at);
    maxima = larger(maxima, hook.scoresOf(x));
    // NaN is not less either.
    const isOrdinary = f32x4.lt(f32x4.abs(x), f32x4.splat(ORDINARY));
    const isHidden = v128.or(f32x4.eq(x, f32x4.splat(UNSEEN)), f32x4.eq(x, f32x4.splat(-Infinity)));
    exceptional = v128.or(exceptional, v128.not(v128.or(isOrdinary, hook.hides(isHidden))));
  }
  v128.store(state, exceptional, EXCEPTIONAL);
  let sum = v128.load(state, SUMS);
  if (v128.any_true(f32x4.gt(maxima, old))) {
    const factor = exp2Clamped(f32x4.sub(old, maxima));
    v128.store(state, maxima, MAXIMA);
    sum = f32x4.mul(sum, factor);
    const f0 = v128.shuffle<f32>(factor, factor, 0, 0, 0, 0);
    const f1 = v128.shuffle<f32>(factor, factor, 1, 1, 1, 1);
    const f2 = v128.shuffle<f32>(factor, factor, 2, 2, 2, 2);
    const f3 = v128.shuffle<f32>(factor, factor, 3, 3, 3, 3);
    for (const past = part + <usize>columns * 64; part < past; part += 64) {
      v128.store(part, f32x4.mul(v128.load(part), f0));
      v128.store(part, f32x4.mul(v128.load(part, 16), f1), 16);
      v128.store(part, f32x4.mul(v128.load(part, 32), f2), 32);
      v128.store(part, f32x4.mul(v128.load(part, 48), f3), 48);
    }
  }
  for (let at = scores; at < end; at += 16) {
    const score = v128.load(at);
    const weight = hook.weigh(exp2Clamped(f32x4.sub(hook.scoresOf(score), maxima)), score);
    v128.store(at, weight);
    sum = f32x4.add(sum, weight);
  }
  v128.store(state, sum, SUMS);
}
