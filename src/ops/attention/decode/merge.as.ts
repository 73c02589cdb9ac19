/** The results of decoding: its splits merged, and rows that met what float32 cannot do, computed anew in float64. */
import { I8 } from '../../cache/params.generated.as';
import { divideSums } from '../forward/exceptional.as';
import { DecodeParams } from '../params.generated.as';
import {
  DOUBLES, elementBytes, EXCEPTIONAL, fours, groupsOf, hookOf, KEY_ROWS, keyRow, listOf, LOG2E, MAXIMA, NO_MAXIMUM, ORDINARY,
  partAt, partBytes, rowOf, scaleAt, SCORES, segmentAt, SUMS,
} from './memory.as';
import { modifyScores } from './scores.as';
import { rowAddress } from '../../../runtime/wasm/assembly/layout.as';
import { Operand, PANEL } from '../../../runtime/cpu/params.generated.as';
import { exp, log } from '../../../runtime/wasm/assembly/scalar.as';
import { bytesOf, loadElement, storeRow } from '../../../runtime/wasm/assembly/storage.as';
import { exp2Clamped, madd } from '../../../runtime/wasm/assembly/vector.as';

const LN2: f64 = 0.6931471805599453;

/** The results of a query head of a batch, from its splits. */
export function mergeSplits<H>(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DecodeParams>(params);
  const g = p.g;
  const h = p.h;
  const n = p.n;
  const e = p.e;
  const shared = h / g;
  const batch = task / h;
  const head = task % h;
  const list = listOf(p, batch, head);
  const keys = i32.load(list, 8);
  const splits = (keys + p.splitKeys - 1) / p.splitKeys;
  const queries = i32.load(rowOf(p, batch));
  const columns = fours(e);
  const bytes = partBytes(p);
  const splitBytes = <usize>groupsOf<H>(p) * bytes;
  const row = scratch + KEY_ROWS;
  const dtype = p.out.dtype;
  const hook = hookOf<H>(scratch);
  const rows = hook.queries;
  for (let i: i32 = 0; i < n; i++) {
    const r = (head % shared) * n + i;
    const at = (<usize>(batch * n) + <usize>i) * <usize>h + <usize>head;
    const lane = <usize>(r % rows) << 2;
    const first = partAt<H>(p, batch * g + head / shared, 0) + <usize>(r / rows) * bytes;
    const past = i < queries ? first + <usize>splits * splitBytes : first;
    let maximum = NO_MAXIMUM;
    let isExceptional = false;
    for (let part = first; part < past; part += splitBytes) {
      const state = part + <usize>columns * 64 + lane;
      maximum = max(maximum, f32.load(state, MAXIMA));
      if (i32.load(state, EXCEPTIONAL) || hook.isExceptional(state + EXCEPTIONAL)) isExceptional = true;
    }
    const sum = addSplits(p, first, past, splitBytes, lane, maximum, row);
    const inverse: f32 = sum > 0 ? 1 / sum : 0;
    const isOrdinary = scaleRow(row, columns, inverse);
    const areOthers = hook.mergeRow(p, at, first, past, lane, maximum, inverse, row, scratch);
    if (isExceptional || !isOrdinary || !areOthers) {
      exceptionalRow<H>(p, batch, head, i, at, scratch);
      continue;
    }
    f32.store(p.lse + (at << 2), sum > 0 ? <f32>(<f64>maximum * LN2 + log(<f64>sum)) : -Infinity);
    storeRow(row, p.out.address + at * <usize>e * bytesOf(dtype), dtype, e);
  }
}

/** Adds up a row's splits under a common maximum, to [columns of 4][4]; returns the sum of its weights. */
export function addSplits(p: DecodeParams, first: usize, past: usize, step: usize, lane: usize, maximum: f32, row: usize): f32 {
  const columns = fours(p.e);
  let sum: f32 = 0;
  memory.fill(row, 0, <usize>columns << 4);
  for (let part = first; part < past; part += step) {
    const state = part + <usize>columns * 64 + lane;
    const factor = exp2Clamped(f32x4.splat(f32.load(state, MAXIMA) - maximum));
    sum += f32x4.extract_lane(factor, 0) * f32.load(state, SUMS);
    let sums = part + (lane << 2);
    for (let c: i32 = 0; c < columns; c++, sums += 64) {
      const place = row + (<usize>c << 4);
      v128.store(place, madd(factor, v128.load(sums), v128.load(place)));
    }
  }
  return sum;
}

/** A row times a factor; whether float32 did for it. */
export function scaleRow(row: usize, columns: i32, factor: f32): bool {
  let isOrdinary = i32x4.splat(-1);
  for (const past = row + (<usize>columns << 4); row < past; row += 16) {
    const x = v128.load(row);
    isOrdinary = v128.and(isOrdinary, f32x4.lt(f32x4.abs(x), f32x4.splat(ORDINARY)));
    v128.store(row, f32x4.mul(x, f32x4.splat(factor)));
  }
  return i32x4.all_true(isOrdinary);
}

/** One query in float64, in the order of the definition; infinities and NaN take their course. */
function exceptionalRow<H>(p: DecodeParams, batch: i32, head: i32, i: i32, at: usize, scratch: usize): void {
  const e = p.e;
  const shared = p.h / p.g;
  const r = (head % shared) * p.n + i;
  const group = head / shared;
  const list = listOf(p, batch, head);
  const program = i32.load(rowOf(p, batch), 4);
  const hook = hookOf<H>(scratch);
  const sums = scratch + DOUBLES;
  const row = scratch + KEY_ROWS;
  memory.fill(sums, 0, <usize>e << 3);
  let largest: f64 = -Infinity;
  let total: f64 = 0;
  let seesAny = false;
  for (let pass: i32 = 0; pass < hook.passes; pass++) {
    hook.beginPass(p, pass, at, sums, total, seesAny, row);
    for (let at = i32.load(list); at < i32.load(list, 4); at++) {
      const segment = segmentAt(p, at);
      const words = i32.load(segment, 8);
      for (let key = i32.load(segment); key < i32.load(segment, 4); key++) {
        if (words >= 0 && !((i32.load(p.words + (<usize>(words * PANEL + (key % PANEL)) << 2)) >> i) & 1)) continue;
        let score = p.scale * dot(p, p.q, batch, head, i, key);
        if (hook.hasScores && program) {
          f32.store(scratch + SCORES + (<usize>(r & 3) << 2), <f32>score);
          modifyScores(p, batch, group, r >> 2, key, 1, scratch);
          score = <f64>f32.load(scratch + SCORES + (<usize>(r & 3) << 2)) / LOG2E;
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
        weight = hook.exactWeight(p, pass, weight, batch, i, head, key);
        const value = keyRow(p, p.v, batch, key, group);
        for (let c: i32 = 0; c < e; c++) {
          const sum = sums + (<usize>c << 3);
          f64.store(sum, f64.load(sum) + weight * elementOf(p, p.v, p.valueScales, value, c, batch, key, group));
        }
      }
    }
  }
  divideSums(sums, seesAny ? total : 1, e, row);
  const dtype = p.out.dtype;
  storeRow(row, p.out.address + at * <usize>e * bytesOf(dtype), dtype, e);
  f32.store(p.lse + (at << 2), seesAny ? <f32>(largest + log(total)) : -Infinity);
}

/** Column `c` of the row at `row`. */
function elementOf(p: DecodeParams, x: Operand, scales: usize, row: usize, c: i32, batch: i32, key: i32, head: i32): f64 {
  if (x.dtype == I8) return <f64>load<i8>(row + <usize>c) * <f64>f32.load(scaleAt(p, scales, batch, key, head));
  return <f64>loadElement(row + <usize>c * x.element * bytesOf(x.dtype), x.dtype);
}

/** The product of a query's row of q, or of another tensor like it, and a key. */
export function dot(p: DecodeParams, q: Operand, batch: i32, head: i32, i: i32, key: i32): f64 {
  const group = head / (p.h / p.g);
  const query = rowAddress(q, batch, i, head);
  const row = keyRow(p, p.k, batch, key, group);
  let sum: f64 = 0;
  for (let c: i32 = 0; c < p.d; c++) {
    const x = <f64>loadElement(query + <usize>c * q.element * bytesOf(q.dtype), q.dtype);
    sum += x * elementOf(p, p.k, p.keyScales, row, c, batch, key, group);
  }
  return sum;
}
