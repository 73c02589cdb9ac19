/**
 * Products of few rows, as in decoding: b is read once, where it lies, in the order of memory. Where its columns lie side by
 * side, a task adds up some terms of some columns, eight terms at a time, and `fewRowsFinish` the sums of such; where its terms
 * do, a task takes some columns whole, each against four rows of a.
 */
import { fieldsOf, four, hasSpecials, isHalf, scaled, scaleOf } from '../../runtime/wasm/assembly/fours.as';
import { bytesOf, loadElement, loadRow, SCALE } from '../../runtime/wasm/assembly/storage.as';
import { fourSums, madd, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { BF16, F16, F32 } from '../../runtime/cpu/params.generated.as';
import { firstInstruction, innerInstruction, pastInstruction, REGISTER_BYTES, run } from '../map/program.as';
import { CONVERTED_COLUMNS, FewRowsParams, FINISHED, MOST_ACROSS } from './params.generated.as';

// Working memory: eight terms of some columns in float32, or rows of the result, and what the epilogue's program needs.
const CONVERTED: usize = 0;
const CONVERTED_BYTES: usize = <usize>CONVERTED_COLUMNS * 4;
const SECOND: usize = <usize>FINISHED * 4;
/** The sums of a column with the rows of a group. */
const SUMS: usize = CONVERTED + 8 * CONVERTED_BYTES;
/** Eight terms of four rows of a, in four lanes each. */
const FACTORS: usize = SUMS + 16;
const POINTERS: usize = FACTORS + <usize>MOST_ACROSS * 128;
const REGISTERS: usize = POINTERS + 16;
export const FEW_ROWS_BYTES: usize = REGISTERS + REGISTER_BYTES;

/** Below it in magnitude, floats can be multiplied by 2^112. */
const SCALABLE: f32 = 65536;

/**
 * A row of a in float32: fours of terms, each beside those of the other `together` rows of its group, then the terms that make
 * no four.
 */
export function fewRowsOfA(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FewRowsParams>(params);
  const a = p.a;
  const depth = p.depth;
  const size = bytesOf(a.dtype);
  const step = <usize>p.together << 4;
  const row = task % p.together;
  let to = p.left + (<usize>(task - row) * depth << 2) + (<usize>row << 4);
  let from = a.address + <usize>task * a.lane * size;
  const most = 8 * CONVERTED_COLUMNS;
  for (let first: i32 = 0; first < depth; first += most, from += <usize>most * a.term * size) {
    const terms = min(most, depth - first);
    let x = scratch + CONVERTED;
    if (task < a.lanes) x = loadRow(from, a.term, a.dtype, terms, x);
    else memory.fill(x, 0, <usize>terms << 2);
    let k: i32 = 0;
    for (; k + 4 <= terms; k += 4, x += 16, to += step) v128.store(to, v128.load(x));
    let at = to - 12 * <usize>row;
    for (; k < terms; k++, x += 4, at += step >> 2) f32.store(at, f32.load(x));
  }
}

/** Some terms of some columns, whose elements lie side by side. */
export function fewRowsAcross(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FewRowsParams>(params);
  const dtype = p.b.dtype;
  const rows = p.a.lanes;
  const strips = (p.b.lanes + p.strip - 1) / p.strip;
  const first = (task / strips) * p.terms;
  const terms = min(p.terms, p.depth - first);
  const column = (task % strips) * p.strip;
  const count = min(p.strip, p.b.lanes - column);
  const size = bytesOf(dtype);
  const next = p.b.term * size;
  const step = <usize>p.pitch << 2;
  const sums = p.parts + <usize>((task / strips) * p.sumRows) * step + (<usize>column << 2);
  for (let r: i32 = 0; r < p.sumRows; r++) memory.fill(sums + <usize>r * step, 0, <usize>(count + 7 & ~7) << 2);
  let b = p.b.address + <usize>first * next + <usize>column * size;
  let a = p.left + (<usize>first << 2);
  for (let k: i32 = 0; k < terms; k += 8, b += 8 * next, a += 32) {
    const some = min(8, terms - k);
    const isDirect = some == 8 && (dtype != F16 || areNumbers(p, b, next, count, a));
    const direct = isDirect ? count & ~7 : 0;
    if (direct > 0) {
      layOutFactors(p, a, some, dtype == F16, scratch + FACTORS);
      addBlock(dtype, rows, b, next, direct, scratch + FACTORS, sums, step);
    }
    if (direct < count) layOutFactors(p, a, some, false, scratch + FACTORS);
    for (let c = direct; c < count; c += CONVERTED_COLUMNS) {
      const width = min(CONVERTED_COLUMNS, count - c);
      convert(b + <usize>c * size, next, dtype, some, width, scratch + CONVERTED);
      // What is added to columns past the last is not read.
      addBlock(F32, rows, scratch + CONVERTED, CONVERTED_BYTES, (width + 7) & ~7, scratch + FACTORS, sums + (<usize>c << 2), step);
    }
  }
}

/** Whether no half among eight terms is an infinity or NaN, and a can be scaled in their place. */
function areNumbers(p: FewRowsParams, b: usize, next: usize, count: i32, a: usize): bool {
  for (let k: i32 = 0; k < 8; k++, b += next, a += 4) {
    // NaN is not less either.
    for (let r: i32 = 0; r < p.a.lanes; r++)
      if (!(Mathf.abs(f32.load(a + (<usize>(r * p.depth) << 2))) < SCALABLE)) return false;
    if (hasSpecials(b, count)) return false;
  }
  return true;
}

/** Eight terms of each row of a, in all lanes each; zeros for those that are missing. */
function layOutFactors(p: FewRowsParams, a: usize, terms: i32, isScaled: bool, to: usize): void {
  const factor: f32 = isScaled ? f32.load(SCALE) : 1;
  const rows = p.a.lanes;
  memory.fill(to, 0, MOST_ACROSS * 128);
  for (let r: i32 = 0; r < rows; r++, to += 128) {
    const from = a + (<usize>(r * p.depth) << 2);
    for (let k: usize = 0; k < <usize>terms; k++) v128.store(to + (k << 4), f32x4.splat(f32.load(from + (k << 2)) * factor));
  }
}

/** Eight rows in float32; those past `terms` are zeros. */
function convert(b: usize, next: usize, dtype: i32, terms: i32, columns: i32, to: usize): void {
  if (terms < 8) memory.fill(to, 0, 8 * CONVERTED_BYTES);
  for (let k: i32 = 0; k < terms; k++, b += next, to += CONVERTED_BYTES) {
    const row = loadRow(b, 1, dtype, columns, to);
    if (row != to) memory.copy(to, row, <usize>columns << 2);
  }
}

/** Adds eight terms to some columns of one row or of four. */
function addBlock(dtype: i32, rows: i32, b: usize, next: usize, count: i32, factors: usize, sums: usize, step: usize): void {
  if (dtype == F32) addTerms<f32>(rows, b, next, count, factors, sums, step);
  else if (dtype == BF16) addTerms<u16>(rows, b, next, count, factors, sums, step);
  else addTerms<i16>(rows, b, next, count, factors, sums, step);
}

@inline
function addTerms<T>(rows: i32, b: usize, next: usize, count: i32, factors: usize, sums: usize, step: usize): void {
  if (rows == 1) addToRow<T>(b, next, count, factors, sums);
  else addToRows<T>(b, next, count, factors, sums, step);
}

function addToRow<T>(b: usize, next: usize, count: i32, factors: usize, sums: usize): void {
  const fields = fieldsOf<T>();
  const a0 = v128.load(factors, 0);
  const a1 = v128.load(factors, 16);
  const a2 = v128.load(factors, 32);
  const a3 = v128.load(factors, 48);
  const a4 = v128.load(factors, 64);
  const a5 = v128.load(factors, 80);
  const a6 = v128.load(factors, 96);
  const a7 = v128.load(factors, 112);
  for (const end = sums + (<usize>count << 2); sums < end; sums += 32, b += 8 * sizeof<T>()) {
    let at = b;
    let x = madd(a0, four<T>(at, fields), v128.load(sums));
    let y = madd(a0, four<T>(at + 4 * sizeof<T>(), fields), v128.load(sums, 16));
    at += next;
    x = madd(a1, four<T>(at, fields), x);
    y = madd(a1, four<T>(at + 4 * sizeof<T>(), fields), y);
    at += next;
    x = madd(a2, four<T>(at, fields), x);
    y = madd(a2, four<T>(at + 4 * sizeof<T>(), fields), y);
    at += next;
    x = madd(a3, four<T>(at, fields), x);
    y = madd(a3, four<T>(at + 4 * sizeof<T>(), fields), y);
    at += next;
    x = madd(a4, four<T>(at, fields), x);
    y = madd(a4, four<T>(at + 4 * sizeof<T>(), fields), y);
    at += next;
    x = madd(a5, four<T>(at, fields), x);
    y = madd(a5, four<T>(at + 4 * sizeof<T>(), fields), y);
    at += next;
    x = madd(a6, four<T>(at, fields), x);
    y = madd(a6, four<T>(at + 4 * sizeof<T>(), fields), y);
    at += next;
    x = madd(a7, four<T>(at, fields), x);
    y = madd(a7, four<T>(at + 4 * sizeof<T>(), fields), y);
    v128.store(sums, x);
    v128.store(sums, y, 16);
  }
}

/** Four rows, so that b is loaded once for all of them. */
function addToRows<T>(b: usize, next: usize, count: i32, factors: usize, sums: usize, step: usize): void {
  const fields = fieldsOf<T>();
  for (const end = sums + (<usize>count << 2); sums < end; sums += 16, b += 4 * sizeof<T>()) {
    let at = b;
    const b0 = four<T>(at, fields);
    at += next;
    const b1 = four<T>(at, fields);
    at += next;
    const b2 = four<T>(at, fields);
    at += next;
    const b3 = four<T>(at, fields);
    at += next;
    const b4 = four<T>(at, fields);
    at += next;
    const b5 = four<T>(at, fields);
    at += next;
    const b6 = four<T>(at, fields);
    at += next;
    const b7 = four<T>(at, fields);
    let to = sums;
    addToOne(b0, b1, b2, b3, b4, b5, b6, b7, factors, to);
    to += step;
    addToOne(b0, b1, b2, b3, b4, b5, b6, b7, factors + 128, to);
    to += step;
    addToOne(b0, b1, b2, b3, b4, b5, b6, b7, factors + 256, to);
    to += step;
    addToOne(b0, b1, b2, b3, b4, b5, b6, b7, factors + 384, to);
  }
}

@inline
function addToOne(b0: v128, b1: v128, b2: v128, b3: v128, b4: v128, b5: v128, b6: v128, b7: v128, factors: usize, to: usize): void {
  let x = madd(v128.load(factors), b0, v128.load(to));
  x = madd(v128.load(factors, 16), b1, x);
  x = madd(v128.load(factors, 32), b2, x);
  x = madd(v128.load(factors, 48), b3, x);
  x = madd(v128.load(factors, 64), b4, x);
  x = madd(v128.load(factors, 80), b5, x);
  x = madd(v128.load(factors, 96), b6, x);
  x = madd(v128.load(factors, 112), b7, x);
  v128.store(to, x);
}

@inline
function element<T>(at: usize): f32 {
  return loadElement(at, isFloat<T>() ? F32 : isHalf<T>() ? F16 : BF16);
}

/** Some columns, the terms of each of which lie side by side. */
export function fewRowsAlong(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FewRowsParams>(params);
  const dtype = p.b.dtype;
  const depth = p.depth;
  const rows = p.a.lanes;
  const together = p.together;
  const first = task * p.strip;
  const past = min(first + p.strip, p.b.lanes);
  const step = p.b.lane * bytesOf(dtype);
  let b = p.b.address + <usize>first * step;
  for (let column = first; column < past; column++, b += step) {
    const isSpecial = dtype == F16 && hasSpecials(b, depth);
    for (let row: i32 = 0; row < rows; row += together) {
      const a = p.left + (<usize>row * depth << 2);
      if (isSpecial) specialDots(p, row, b, scratch + SUMS);
      else if (dtype == F32) dots<f32>(together, a, b, depth, scratch + SUMS);
      else if (dtype == BF16) dots<u16>(together, a, b, depth, scratch + SUMS);
      else dots<i16>(together, a, b, depth, scratch + SUMS);
      for (let r = row, at = scratch + SUMS; r < min(rows, row + together); r++, at += 4)
        f32.store(p.parts + (<usize>r * <usize>p.pitch + <usize>column << 2), f32.load(at));
    }
  }
}

@inline
function dots<T>(together: i32, a: usize, b: usize, depth: i32, sums: usize): void {
  if (together == 1) f32.store(sums, oneDot<T>(a, b, depth));
  else v128.store(sums, fourDots<T>(a, b, depth));
}

/** The product of a row of a and a column. */
function oneDot<T>(a: usize, b: usize, depth: i32): f32 {
  const fields = fieldsOf<T>();
  const scale = scaleOf<T>();
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let k: i32 = 0;
  for (; k + 16 <= depth; k += 16, a += 64, b += 16 * sizeof<T>()) {
    s0 = madd(scaled<T>(four<T>(b, fields), scale), v128.load(a), s0);
    s1 = madd(scaled<T>(four<T>(b + 4 * sizeof<T>(), fields), scale), v128.load(a, 16), s1);
    s2 = madd(scaled<T>(four<T>(b + 8 * sizeof<T>(), fields), scale), v128.load(a, 32), s2);
    s3 = madd(scaled<T>(four<T>(b + 12 * sizeof<T>(), fields), scale), v128.load(a, 48), s3);
  }
  s0 = f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3));
  for (; k + 4 <= depth; k += 4, a += 16, b += 4 * sizeof<T>())
    s0 = madd(scaled<T>(four<T>(b, fields), scale), v128.load(a), s0);
  let sum = sumOfLanes(s0);
  for (; k < depth; k++, a += 4, b += sizeof<T>()) sum += f32.load(a) * element<T>(b);
  return sum;
}

/** Those of four rows of a. */
function fourDots<T>(a: usize, b: usize, depth: i32): v128 {
  const fields = fieldsOf<T>();
  const scale = scaleOf<T>();
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  let k: i32 = 0;
  for (; k + 8 <= depth; k += 8, a += 128, b += 8 * sizeof<T>()) {
    const x = scaled<T>(four<T>(b, fields), scale);
    const y = scaled<T>(four<T>(b + 4 * sizeof<T>(), fields), scale);
    s0 = madd(x, v128.load(a), s0);
    t0 = madd(y, v128.load(a, 64), t0);
    s1 = madd(x, v128.load(a, 16), s1);
    t1 = madd(y, v128.load(a, 80), t1);
    s2 = madd(x, v128.load(a, 32), s2);
    t2 = madd(y, v128.load(a, 96), t2);
    s3 = madd(x, v128.load(a, 48), s3);
    t3 = madd(y, v128.load(a, 112), t3);
  }
  let sums = fourSums(f32x4.add(s0, t0), f32x4.add(s1, t1), f32x4.add(s2, t2), f32x4.add(s3, t3));
  if (k + 4 <= depth) {
    const x = scaled<T>(four<T>(b, fields), scale);
    sums = f32x4.add(sums, fourSums(f32x4.mul(x, v128.load(a)), f32x4.mul(x, v128.load(a, 16)), f32x4.mul(x, v128.load(a, 32)), f32x4.mul(x, v128.load(a, 48))));
    k += 4;
    a += 64;
    b += 4 * sizeof<T>();
  }
  for (; k < depth; k++, a += 16, b += sizeof<T>()) sums = madd(v128.load(a), f32x4.splat(element<T>(b)), sums);
  return sums;
}

/** The products of a group's rows and a column that holds an infinity or NaN, so that rounding does not matter. */
function specialDots(p: FewRowsParams, row: i32, b: usize, sums: usize): void {
  const a = p.a;
  const size = bytesOf(a.dtype);
  for (const past = min(row + p.together, a.lanes); row < past; row++, sums += 4) {
    let from = a.address + <usize>row * a.lane * size;
    let sum: f32 = 0;
    for (let k: i32 = 0; k < p.depth; k++, from += a.term * size) sum += loadElement(from, a.dtype) * loadElement(b + (<usize>k << 1), F16);
    f32.store(sums, sum);
  }
}

/** A strip of a row of the result: the sums of all splits, the bias, and what the epilogue makes of it. */
export function fewRowsFinish(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FewRowsParams>(params);
  const columns = p.b.lanes;
  const strips = (columns + FINISHED - 1) / FINISHED;
  const row = task / strips;
  const column = (task % strips) * FINISHED;
  const count = min(FINISHED, columns - column);
  const bytes = <usize>count << 2;
  const sums = scratch + CONVERTED;
  const step = <usize>(p.sumRows * p.pitch) << 2;
  const first = p.parts + (<usize>(row * p.pitch + column) << 2);
  memory.copy(sums, first, bytes);
  for (let split: i32 = 1; split < p.splits; split++) addTo(sums, first + <usize>split * step, count);
  if (p.bias) {
    const size = bytesOf(p.a.dtype);
    const from = p.bias + <usize>column * p.biasStride * size;
    addTo(sums, loadRow(from, p.biasStride, p.a.dtype, count, scratch + SECOND), count);
  }
  if (p.program) {
    const numbers = params + FewRowsParams.BYTES;
    const inner = innerInstruction(p.program);
    run(firstInstruction(p.program), inner, 1, numbers, 0, 1, scratch + POINTERS, scratch + REGISTERS);
    i32.store(scratch + POINTERS, <i32>sums);
    i32.store(scratch + POINTERS, <i32>sums, 4);
    run(inner, pastInstruction(p.program), (count + 3) >> 2, numbers, 0, 1, scratch + POINTERS, scratch + REGISTERS);
  }
  memory.copy(p.out + (<usize>(row * columns + column) << 2), sums, bytes);
}

function addTo(sums: usize, from: usize, count: i32): void {
  let c: i32 = 0;
  for (; c + 4 <= count; c += 4, sums += 16, from += 16) v128.store(sums, f32x4.add(v128.load(sums), v128.load(from)));
  for (; c < count; c++, sums += 4, from += 4) f32.store(sums, f32.load(sums) + f32.load(from));
}
