/**
 * Keys and values as they are stored, against four rows. T stands for how: f32, i16 for f16, u16 for bf16, or i8. These are
 * functions for each, since the optimiser folds branches that differ by a constant into one that looks at it each time.
 */
import { I8 } from '../../cache/params.generated.as';
import { DecodeParams } from '../params.generated.as';
import { FETCHED, fours, SCORES, SINK } from './memory.as';
import { F16, F32, Operand } from '../../../runtime/cpu/params.generated.as';
import { loadRow } from '../../../runtime/wasm/assembly/storage.as';
import { fourSums, madd } from '../../../runtime/wasm/assembly/vector.as';

/** Whether rows are copied as float32: those that are not whole vectors side by side, and those that many queries would convert. */
@inline
export function isCopied(p: DecodeParams, x: Operand, columns: i32, groups: i32): bool {
  return x.element != 1 || (p.pages == 0 && columns % 4 != 0) || (x.dtype != F32 && groups > 2);
}

/** Whether there is an infinity or NaN among halves, which `widen` would make ordinary numbers of. */
export function hasSpecials(x: Operand, columns: i32, from: usize, step: usize, count: i32): bool {
  if (x.dtype != F16) return false;
  let largest = i16x8.splat(0);
  const magnitude = i16x8.splat(0x7fff);
  for (let j: i32 = 0; j < count; j++, from += step) {
    let at = from;
    let c: i32 = 0;
    for (; c + 8 <= columns; c += 8, at += 16) largest = i16x8.max_u(largest, v128.and(v128.load(at), magnitude));
    if (c < columns) largest = i16x8.max_u(largest, v128.and(v128.load64_zero(at), magnitude));
  }
  return v128.any_true(i16x8.gt_u(largest, i16x8.splat(0x7bff)));
}

/** Rows as float32, padded with zeros to whole vectors. */
export function copyRows(x: Operand, length: i32, from: usize, step: usize, count: i32, to: usize): void {
  const dtype = x.dtype;
  const element = x.element;
  const columns = fours(length);
  const bytes = <usize>columns << 4;
  for (let j: i32 = 0; j < count; j++, from += step, to += bytes) {
    if (length % 4 != 0) v128.store(to + bytes - 16, f32x4.splat(0));
    if (dtype == I8) for (let c: usize = 0; c < bytes; c += 16) v128.store(to + c, four<i8>(from + (c >> 2)));
    else {
      const row = loadRow(from, element, dtype, length, to);
      if (row != to) memory.copy(to, row, <usize>length << 2);
    }
  }
}

/** Four columns in float32. */
@inline
function four<T>(at: usize): v128 {
  if (isFloat<T>()) return v128.load(at);
  if (sizeof<T>() == 1) return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(v128.load32_zero(at))));
  return isSigned<T>() ? widen(at) : i32x4.shl(v128.load16x4_u(at), 16);
}

/** Half to single: the fields moved, then times 2^112, which mends exponent and subnormals; of numbers. */
@inline
function widen(at: usize): v128 {
  const fields = v128.and(i32x4.shl(v128.load16x4_s(at), 13), i32x4.splat(0x8fffe000));
  return f32x4.mul(fields, i32x4.splat(0x77800000));
}

@inline
function columnBytes<T>(): usize {
  return 4 * sizeof<T>();
}

/** Scores of four queries against `count` keys, three at a time. */
export function scoreRows<T>(queries: usize, bytes: usize, keys: usize, step: usize, count: i32, scratch: usize): void {
  const past = queries + bytes;
  const last = keys + <usize>(count - 1) * step;
  let to = scratch + SCORES;
  let fetched = load<usize>(scratch + FETCHED);
  const end = load<usize>(scratch + FETCHED, 4);
  let sink: i64 = 0;
  for (let at = keys; at <= last; at += 3 * step, to += 48) {
    let k0 = at;
    let k1 = min(at + step, last);
    let k2 = min(at + 2 * step, last);
    let a0 = f32x4.splat(0);
    let a1 = a0;
    let a2 = a0;
    let b0 = a0;
    let b1 = a0;
    let b2 = a0;
    let c0 = a0;
    let c1 = a0;
    let c2 = a0;
    let d0 = a0;
    let d1 = a0;
    let d2 = a0;
    for (let q = queries; q < past; q += 64) {
      const x0 = four<T>(k0);
      const x1 = four<T>(k1);
      const x2 = four<T>(k2);
      let y = v128.load(q);
      a0 = madd(y, x0, a0);
      a1 = madd(y, x1, a1);
      a2 = madd(y, x2, a2);
      y = v128.load(q, 16);
      b0 = madd(y, x0, b0);
      b1 = madd(y, x1, b1);
      b2 = madd(y, x2, b2);
      y = v128.load(q, 32);
      c0 = madd(y, x0, c0);
      c1 = madd(y, x1, c1);
      c2 = madd(y, x2, c2);
      y = v128.load(q, 48);
      d0 = madd(y, x0, d0);
      d1 = madd(y, x1, d1);
      d2 = madd(y, x2, d2);
      k0 += columnBytes<T>();
      k1 += columnBytes<T>();
      k2 += columnBytes<T>();
      sink ^= i64.load(fetched);
      fetched = min(fetched + 64, end);
    }
    v128.store(to, fourSums(a0, b0, c0, d0));
    v128.store(to, fourSums(a1, b1, c1, d1), 16);
    v128.store(to, fourSums(a2, b2, c2, d2), 32);
  }
  i64.store(scratch + SINK, sink);
  store<usize>(scratch + FETCHED, fetched);
}

/** Adds the weighted values to the sums, twelve columns at a time. */
export function addValues<T>(columns: i32, values: usize, step: usize, count: i32, part: usize, scratch: usize): void {
  let c: i32 = 0;
  for (; c + 3 <= columns; c += 3) addColumns<T>(3, c, values, step, count, part, scratch);
  if (columns - c == 2) addColumns<T>(2, c, values, step, count, part, scratch);
  else if (columns - c == 1) addColumns<T>(1, c, values, step, count, part, scratch);
}

@inline
function addColumns<T>(width: i32, c: i32, values: usize, step: usize, count: i32, part: usize, scratch: usize): void {
  const sums = part + <usize>c * 64;
  let at = values + <usize>c * columnBytes<T>();
  let fetched = load<usize>(scratch + FETCHED, 8);
  const endOfFetch = load<usize>(scratch + FETCHED, 12);
  let sink: i64 = 0;
  const zero = f32x4.splat(0);
  let a0 = v128.load(sums);
  let a1 = v128.load(sums, 16);
  let a2 = v128.load(sums, 32);
  let a3 = v128.load(sums, 48);
  let b0 = width > 1 ? v128.load(sums, 64) : zero;
  let b1 = width > 1 ? v128.load(sums, 80) : zero;
  let b2 = width > 1 ? v128.load(sums, 96) : zero;
  let b3 = width > 1 ? v128.load(sums, 112) : zero;
  let c0 = width > 2 ? v128.load(sums, 128) : zero;
  let c1 = width > 2 ? v128.load(sums, 144) : zero;
  let c2 = width > 2 ? v128.load(sums, 160) : zero;
  let c3 = width > 2 ? v128.load(sums, 176) : zero;
  let weights = scratch + SCORES;
  for (const end = weights + (<usize>count << 4); weights < end; weights += 16, at += step) {
    const x = four<T>(at);
    const y = width > 1 ? four<T>(at + columnBytes<T>()) : zero;
    const z = width > 2 ? four<T>(at + 2 * columnBytes<T>()) : zero;
    let w = v128.load32_splat(weights);
    a0 = madd(w, x, a0);
    if (width > 1) b0 = madd(w, y, b0);
    if (width > 2) c0 = madd(w, z, c0);
    w = v128.load32_splat(weights, 4);
    a1 = madd(w, x, a1);
    if (width > 1) b1 = madd(w, y, b1);
    if (width > 2) c1 = madd(w, z, c1);
    w = v128.load32_splat(weights, 8);
    a2 = madd(w, x, a2);
    if (width > 1) b2 = madd(w, y, b2);
    if (width > 2) c2 = madd(w, z, c2);
    w = v128.load32_splat(weights, 12);
    a3 = madd(w, x, a3);
    if (width > 1) b3 = madd(w, y, b3);
    if (width > 2) c3 = madd(w, z, c3);
    sink ^= i64.load(fetched);
    fetched = min(fetched + 64, endOfFetch);
  }
  i64.store(scratch + SINK, sink);
  store<usize>(scratch + FETCHED, fetched, 8);
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
  if (width > 2) {
    v128.store(sums, c0, 128);
    v128.store(sums, c1, 144);
    v128.store(sums, c2, 160);
    v128.store(sums, c3, 176);
  }
}
