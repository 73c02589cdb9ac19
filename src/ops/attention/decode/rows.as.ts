/**
 * Keys and values as they are stored, against four rows, or against the two that heads in pairs have. T stands for how: f32, i16
 * for f16, u16 for bf16, or i8. These are functions for each, since the optimiser folds branches that differ by a constant into
 * one that looks at it each time.
 */
import { I8 } from '../../cache/params.generated.as';
import { DecodeParams } from '../params.generated.as';
import { FETCHED, fours, SCORES, SINK, WEIGHTS } from './memory.as';
import { F16, F32, Operand } from '../../../runtime/cpu/params.generated.as';
import { fieldsOf, four, hasSpecials, isHalf, scaled, scaleOf } from '../../../runtime/wasm/assembly/fours.as';
import { loadRow, SCALE } from '../../../runtime/wasm/assembly/storage.as';
import { fourSums, madd } from '../../../runtime/wasm/assembly/vector.as';

/** Whether rows are copied as float32: those that are not whole vectors side by side, and those that many queries would convert. */
@inline
export function isCopied(p: DecodeParams, x: Operand, columns: i32, groups: i32): bool {
  return x.element != 1 || (p.pages == 0 && columns % 4 != 0) || (x.dtype != F32 && groups > 2);
}

/** Whether there is an infinity or NaN among halves, which are converted as if they were numbers. */
export function haveSpecials(x: Operand, columns: i32, from: usize, step: usize, count: i32): bool {
  if (x.dtype != F16) return false;
  for (let j: i32 = 0; j < count; j++, from += step) if (hasSpecials(from, columns)) return true;
  return false;
}

/** Rows as float32, padded with zeros to whole vectors. */
export function copyRows(x: Operand, length: i32, from: usize, step: usize, count: i32, to: usize): void {
  const dtype = x.dtype;
  const element = x.element;
  const columns = fours(length);
  const bytes = <usize>columns << 4;
  for (let j: i32 = 0; j < count; j++, from += step, to += bytes) {
    if (length % 4 != 0) v128.store(to + bytes - 16, f32x4.splat(0));
    if (dtype == I8) for (let c: usize = 0; c < bytes; c += 16) v128.store(to + c, four<i8>(from + (c >> 2), f32x4.splat(0)));
    else {
      const row = loadRow(from, element, dtype, length, to);
      if (row != to) memory.copy(to, row, <usize>length << 2);
    }
  }
}

/** Scores of four queries against `count` keys, two at a time. */
export function scoreRows<T>(queries: usize, columns: i32, keys: usize, step: usize, count: i32, scratch: usize): void {
  const past = queries + (<usize>columns << 4);
  const last = keys + <usize>(count - 1) * step;
  const bytes = <usize>(2 * columns) * sizeof<T>();
  for (let to = scratch + SCORES; keys <= last; keys += 2 * step, to += 32) {
    const fetched = fetch(scratch + FETCHED, bytes, scratch + SINK);
    scoreTwo<T>(queries, past, keys, min(keys + step, last), to, fetched, scratch + SINK);
  }
}

function scoreTwo<T>(q: usize, past: usize, first: usize, second: usize, to: usize, fetched: usize, sink: usize): void {
  const next: usize = fetched == sink ? 0 : 8 * sizeof<T>();
  let bits: i64 = 0;
  const fields = fieldsOf<T>();
  const scale = scaleOf<T>();
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  let b0 = a0;
  let b1 = a0;
  let b2 = a0;
  let b3 = a0;
  for (; q != past; q += 64, first += 4 * sizeof<T>(), second += 4 * sizeof<T>()) {
    const x = scaled<T>(four<T>(first, fields), scale);
    const y = scaled<T>(four<T>(second, fields), scale);
    let z = v128.load(q);
    a0 = madd(z, x, a0);
    b0 = madd(z, y, b0);
    z = v128.load(q, 16);
    a1 = madd(z, x, a1);
    b1 = madd(z, y, b1);
    z = v128.load(q, 32);
    a2 = madd(z, x, a2);
    b2 = madd(z, y, b2);
    z = v128.load(q, 48);
    a3 = madd(z, x, a3);
    b3 = madd(z, y, b3);
    bits ^= i64.load(fetched);
    fetched += next;
  }
  i64.store(sink, bits);
  v128.store(to, fourSums(a0, a1, a2, a3));
  v128.store(to, fourSums(b0, b1, b2, b3), 16);
}

/** Scores of the first two of four queries against `count` keys, four at a time; the other two get the same. */
export function scorePairs<T>(queries: usize, columns: i32, keys: usize, step: usize, count: i32, scratch: usize): void {
  const past = queries + (<usize>columns << 4);
  const last = keys + <usize>(count - 1) * step;
  const bytes = <usize>(4 * columns) * sizeof<T>();
  for (let to = scratch + SCORES; keys <= last; keys += 4 * step, to += 64) {
    const fetched = fetch(scratch + FETCHED, bytes, scratch + SINK);
    scoreFour<T>(
      queries, past, keys, min(keys + step, last), min(keys + 2 * step, last), min(keys + 3 * step, last), to, fetched, scratch + SINK,
    );
  }
}

function scoreFour<T>(
  q: usize, past: usize, first: usize, second: usize, third: usize, fourth: usize, to: usize, fetched: usize, sink: usize,
): void {
  const next: usize = fetched == sink ? 0 : 16 * sizeof<T>();
  const move: usize = 4 * sizeof<T>();
  let bits: i64 = 0;
  const fields = fieldsOf<T>();
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  for (; q != past; q += 64, first += move, second += move, third += move, fourth += move) {
    const y = v128.load(q);
    const z = v128.load(q, 16);
    let x = four<T>(first, fields);
    a0 = madd(y, x, a0);
    a1 = madd(z, x, a1);
    x = four<T>(second, fields);
    b0 = madd(y, x, b0);
    b1 = madd(z, x, b1);
    x = four<T>(third, fields);
    c0 = madd(y, x, c0);
    c1 = madd(z, x, c1);
    x = four<T>(fourth, fields);
    d0 = madd(y, x, d0);
    d1 = madd(z, x, d1);
    bits ^= i64.load(fetched);
    fetched += next;
  }
  i64.store(sink, bits);
  // Halves are scaled as sums: what their products lose is below 2^-36 of a score.
  const scale = scaleOf<T>();
  const ab = scaled<T>(fourSums(a0, a1, b0, b1), scale);
  const cd = scaled<T>(fourSums(c0, c1, d0, d1), scale);
  v128.store(to, i64x2.shuffle(ab, ab, 0, 0));
  v128.store(to, i64x2.shuffle(ab, ab, 1, 1), 16);
  v128.store(to, i64x2.shuffle(cd, cd, 0, 0), 32);
  v128.store(to, i64x2.shuffle(cd, cd, 1, 1), 48);
}

/** Columns that `addPairs` takes at a time. */
export const PAIR_COLUMNS: i32 = 16;

/** Adds the weighted values to the sums of the first two rows. */
export function addPairs<T>(columns: i32, values: usize, step: usize, count: i32, part: usize, scratch: usize): void {
  const factor: f32 = isHalf<T>() ? f32.load(SCALE) : 1;
  const weights = scratch + WEIGHTS;
  for (let j: usize = 0; j < <usize>count; j++) {
    const scores = scratch + SCORES + (j << 4);
    v128.store(weights + (j << 5), f32x4.splat(f32.load(scores) * factor));
    v128.store(weights + (j << 5), f32x4.splat(f32.load(scores, 4) * factor), 16);
  }
  const past = weights + (<usize>count << 5);
  const bytes = <usize>(PAIR_COLUMNS * count) * sizeof<T>();
  for (let c: i32 = 0; c < columns; c += PAIR_COLUMNS, values += <usize>PAIR_COLUMNS * sizeof<T>(), part += 256) {
    const fetched = fetch(scratch + FETCHED + 8, bytes, scratch + SINK);
    addPairColumns<T>(values, step, weights, past, part, fetched, scratch + SINK);
  }
}

function addPairColumns<T>(at: usize, step: usize, weights: usize, past: usize, sums: usize, fetched: usize, sink: usize): void {
  const next: usize = fetched == sink ? 0 : <usize>PAIR_COLUMNS * sizeof<T>();
  let bits: i64 = 0;
  const fields = fieldsOf<T>();
  let a0 = v128.load(sums);
  let a1 = v128.load(sums, 16);
  let b0 = v128.load(sums, 64);
  let b1 = v128.load(sums, 80);
  let c0 = v128.load(sums, 128);
  let c1 = v128.load(sums, 144);
  let d0 = v128.load(sums, 192);
  let d1 = v128.load(sums, 208);
  for (; weights != past; weights += 32, at += step) {
    const y = v128.load(weights);
    const z = v128.load(weights, 16);
    let x = four<T>(at, fields);
    a0 = madd(y, x, a0);
    a1 = madd(z, x, a1);
    x = four<T>(at + 4 * sizeof<T>(), fields);
    b0 = madd(y, x, b0);
    b1 = madd(z, x, b1);
    x = four<T>(at + 8 * sizeof<T>(), fields);
    c0 = madd(y, x, c0);
    c1 = madd(z, x, c1);
    x = four<T>(at + 12 * sizeof<T>(), fields);
    d0 = madd(y, x, d0);
    d1 = madd(z, x, d1);
    bits ^= i64.load(fetched);
    fetched += next;
  }
  i64.store(sink, bits);
  v128.store(sums, a0);
  v128.store(sums, a1, 16);
  v128.store(sums, b0, 64);
  v128.store(sums, b1, 80);
  v128.store(sums, c0, 128);
  v128.store(sums, c1, 144);
  v128.store(sums, d0, 192);
  v128.store(sums, d1, 208);
}

/** Adds the weighted values to the sums, eight columns at a time. */
export function addValues<T>(columns: i32, values: usize, step: usize, count: i32, part: usize, scratch: usize): void {
  // Each weight in all lanes, with the scale that halves lack.
  const factor: f32 = isHalf<T>() ? f32.load(SCALE) : 1;
  const weights = scratch + WEIGHTS;
  for (let at: usize = 0; at < <usize>count << 4; at += 4)
    v128.store(weights + (at << 2), f32x4.splat(f32.load(scratch + SCORES + at) * factor));
  const past = weights + (<usize>count << 6);
  const bytes = <usize>(8 * count) * sizeof<T>();
  for (let c: i32 = 0; c < columns; c += 8, values += 8 * sizeof<T>(), part += 128) {
    const fetched = fetch(scratch + FETCHED + 8, bytes, scratch + SINK);
    if (c + 8 <= columns) addColumns<T>(2, values, step, weights, past, part, fetched, scratch + SINK);
    else addColumns<T>(1, values, step, weights, past, part, fetched, scratch + SINK);
  }
}

@inline
function addColumns<T>(width: i32, at: usize, step: usize, weights: usize, past: usize, sums: usize, fetched: usize, sink: usize): void {
  const next: usize = fetched == sink ? 0 : 8 * sizeof<T>();
  let bits: i64 = 0;
  const fields = fieldsOf<T>();
  const zero = f32x4.splat(0);
  let a0 = v128.load(sums);
  let a1 = v128.load(sums, 16);
  let a2 = v128.load(sums, 32);
  let a3 = v128.load(sums, 48);
  let b0 = width > 1 ? v128.load(sums, 64) : zero;
  let b1 = width > 1 ? v128.load(sums, 80) : zero;
  let b2 = width > 1 ? v128.load(sums, 96) : zero;
  let b3 = width > 1 ? v128.load(sums, 112) : zero;
  for (; weights != past; weights += 64, at += step) {
    const x = four<T>(at, fields);
    const y = width > 1 ? four<T>(at + 4 * sizeof<T>(), fields) : zero;
    let w = v128.load(weights);
    a0 = madd(w, x, a0);
    if (width > 1) b0 = madd(w, y, b0);
    w = v128.load(weights, 16);
    a1 = madd(w, x, a1);
    if (width > 1) b1 = madd(w, y, b1);
    w = v128.load(weights, 32);
    a2 = madd(w, x, a2);
    if (width > 1) b2 = madd(w, y, b2);
    w = v128.load(weights, 48);
    a3 = madd(w, x, a3);
    if (width > 1) b3 = madd(w, y, b3);
    bits ^= i64.load(fetched);
    fetched += next;
  }
  i64.store(sink, bits);
  v128.store(sums, a0);
  v128.store(sums, a1, 16);
  v128.store(sums, a2, 32);
  v128.store(sums, a3, 48);
  if (width > 1) {
    v128.store(sums, b0, 64);
    v128.store(sums, b1, 80);
    v128.store(sums, b2, 96);
    v128.store(sums, b3, 112);
  }
}

/** Where the next `bytes` of what is planned lie, to be read one by one as loops go on; the sink if that is too little. */
@inline
function fetch(plan: usize, bytes: usize, sink: usize): usize {
  const at = load<usize>(plan);
  if (at + bytes > load<usize>(plan, 4)) return sink;
  store<usize>(plan, at + bytes);
  return at;
}
