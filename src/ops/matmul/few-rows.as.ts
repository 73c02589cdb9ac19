/**
 * Products of few rows, as in decoding: b is read once, where it lies, as fast as memory gives it. Where its columns lie
 * side by side, a task adds up some terms of some columns, and `fewRowsFinish` the sums of such; where its terms do, a task
 * takes some columns whole. From four rows on columns are taken in blocks that fit the first cache, through the micro-kernel.
 */
import { ADD, product, STORE } from '../../runtime/wasm/assembly/product.as';
import { bytesOf, loadElement, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { madd, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { BF16, F32, PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { firstInstruction, innerInstruction, pastInstruction, REGISTER_BYTES, run } from '../map/program.as';
import { BLOCK_COLUMNS, BLOCK_TERMS, FewRowsParams, FINISHED, LONGEST_STRIP } from './params.generated.as';

// Working memory: strips of b in float32, then also one of the result, and what the epilogue's program needs.
const STRIP: usize = 0;
const SECOND: usize = STRIP + <usize>LONGEST_STRIP * 4;
const POINTERS: usize = max(SECOND + <usize>LONGEST_STRIP * 4, <usize>(BLOCK_TERMS * BLOCK_COLUMNS * 4));
const REGISTERS: usize = POINTERS + 16;
export const FEW_ROWS_BYTES: usize = REGISTERS + REGISTER_BYTES;

/** A row of a in float32: side by side with the others or, for the micro-kernel, as one of six [terms][6]. */
export function fewRowsOfA(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FewRowsParams>(params);
  const a = p.a;
  const depth = p.depth;
  const step = a.term * bytesOf(a.dtype);
  let from = a.address + <usize>task * a.lane * bytesOf(a.dtype);
  let to = p.left + (<usize>(task * depth) << 2);
  let next: usize = 4;
  if (p.isPaneled) {
    to = p.left + <usize>(task / PANEL) * <usize>(depth * PANEL * 4) + (<usize>(task % PANEL) << 2);
    next = PANEL * 4;
  }
  for (let k: i32 = 0; k < depth; k++, from += step, to += next)
    f32.store(to, task < a.lanes ? loadElement(from, a.dtype) : 0);
}

/** All terms of some columns: of b blocks of 32 terms by 256 columns go into the first cache, in the order of memory. */
export function fewRowsByPanels(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FewRowsParams>(params);
  const depth = p.depth;
  const columns = p.b.lanes;
  const first = task * BLOCK_COLUMNS;
  const count = min(BLOCK_COLUMNS, columns - first);
  const slices = (count + SLICE - 1) / SLICE;
  const panels = (p.a.lanes + PANEL - 1) / PANEL;
  const b = p.b;
  const dtype = b.dtype;
  const step = b.term * bytesOf(dtype);
  const pitch = <usize>p.pitch << 2;
  let from = b.address + <usize>first * bytesOf(dtype);
  const sums = p.parts + (<usize>first << 2);
  for (let k: i32 = 0; k < depth; k += BLOCK_TERMS) {
    const terms = min(BLOCK_TERMS, depth - k);
    let to = scratch + STRIP;
    for (let term: i32 = 0; term < terms; term++, from += step, to += BLOCK_COLUMNS * 4) {
      if (count % SLICE != 0) memory.fill(to + (<usize>(slices - 1) << 5), 0, 32);
      const row = loadRow(from, 1, dtype, count, to);
      if (row != to) memory.copy(to, row, <usize>count << 2);
    }
    for (let panel: i32 = 0; panel < panels; panel++) {
      const left = p.left + (<usize>panel * depth + <usize>k) * <usize>(PANEL * 4);
      let c = sums + <usize>(panel * PANEL) * pitch;
      let right = scratch + STRIP;
      for (let slice: i32 = 0; slice < slices; slice++, right += 32, c += 32) {
        if (k == 0) product(left, PANEL * 4, false, right, terms, c, pitch, STORE, 0, BLOCK_COLUMNS * 4);
        else product(left, PANEL * 4, false, right, terms, c, pitch, ADD, 0, BLOCK_COLUMNS * 4);
      }
    }
  }
}

/** Some terms of some columns, whose elements lie side by side. */
export function fewRowsAcross(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FewRowsParams>(params);
  const rows = p.a.lanes;
  const columns = p.b.lanes;
  const strips = (columns + p.strip - 1) / p.strip;
  const split = task / strips;
  const column = (task % strips) * p.strip;
  const count = min(p.strip, columns - column);
  const term = split * p.terms;
  const past = min(term + p.terms, p.depth);
  const sums = p.parts + (<usize>(split * rows) * <usize>columns + <usize>column << 2);
  const step = <usize>columns << 2;
  for (let r: i32 = 0; r < rows; r++) memory.fill(sums + <usize>r * step, 0, <usize>count << 2);
  const b = p.b;
  const dtype = b.dtype;
  const next = b.term * bytesOf(dtype);
  let from = b.address + <usize>term * next + <usize>column * bytesOf(dtype);
  const vectors = count & ~3;
  const a = p.left + (<usize>term << 2);
  const aStep = <usize>p.depth << 2;
  const isConverted = dtype != F32 && dtype != BF16;
  const pairs = rows > 1;
  let at = a;
  for (let k = term; k < past; ) {
    if (dtype == BF16 && rows < 3 && k + 4 <= past) {
      addFourBF16(from, next, vectors, count, rows, at, aStep, sums, step);
      k += 4;
      at += 16;
      from += 4 * next;
      continue;
    }
    const width = pairs && k + 1 < past ? 2 : 1;
    let first = from;
    let second = from + next;
    if (isConverted) {
      first = loadRow(from, 1, dtype, count, scratch + STRIP);
      if (width == 2) second = loadRow(from + next, 1, dtype, count, scratch + SECOND);
    }
    if (width == 2) {
      if (dtype == BF16) addPairBF16(first, second, vectors, count, rows, at, aStep, sums, step);
      else addPairF32(first, second, vectors, count, rows, at, aStep, sums, step);
    } else {
      if (dtype == BF16) addOneBF16(first, vectors, count, rows, at, aStep, sums, step);
      else addOneF32(first, vectors, count, rows, at, aStep, sums, step);
    }
    k += width;
    at += <usize>width << 2;
    from += <usize>width * next;
  }
}

// Functions of their own, since the optimiser folds two branches that differ by a constant into one that looks at it each time.

function addPairF32(b0: usize, b1: usize, vectors: i32, count: i32, rows: i32, a: usize, aStep: usize, sums: usize, step: usize): void {
  addPair(b0, b1, vectors, count, rows, a, aStep, sums, step, F32);
}

function addPairBF16(b0: usize, b1: usize, vectors: i32, count: i32, rows: i32, a: usize, aStep: usize, sums: usize, step: usize): void {
  addPair(b0, b1, vectors, count, rows, a, aStep, sums, step, BF16);
}

function addOneF32(b: usize, vectors: i32, count: i32, rows: i32, a: usize, aStep: usize, sums: usize, step: usize): void {
  addOne(b, vectors, count, rows, a, aStep, sums, step, F32);
}

function addOneBF16(b: usize, vectors: i32, count: i32, rows: i32, a: usize, aStep: usize, sums: usize, step: usize): void {
  addOne(b, vectors, count, rows, a, aStep, sums, step, BF16);
}

function fourDotsF32(a: usize, aStep: usize, b: usize, count: i32): v128 {
  return fourDots(a, aStep, b, count, F32);
}

function fourDotsBF16(a: usize, aStep: usize, b: usize, count: i32): v128 {
  return fourDots(a, aStep, b, count, BF16);
}

function oneDotF32(a: usize, b: usize, count: i32): f32 {
  return oneDot(a, b, count, F32);
}

function oneDotBF16(a: usize, b: usize, count: i32): f32 {
  return oneDot(a, b, count, BF16);
}

/** Four elements, or one; `dtype` is a constant. */
@inline
function four(at: usize, dtype: i32): v128 {
  return dtype == BF16 ? i32x4.shl(v128.load16x4_u(at), 16) : v128.load(at);
}

@inline
function one(at: usize, dtype: i32): f32 {
  return dtype == BF16 ? reinterpret<f32>(<i32>load<u16>(at) << 16) : f32.load(at);
}

/** sums[r] += a[r] b for one term. */
@inline
function addOne(b: usize, vectors: i32, count: i32, rows: i32, a: usize, aStep: usize, sums: usize, step: usize, dtype: i32): void {
  const size: usize = dtype == BF16 ? 2 : 4;
  for (let r: i32 = 0; r < rows; r++, a += aStep, sums += step) {
    const x = v128.load32_splat(a);
    let at = b;
    let to = sums;
    for (const end = sums + (<usize>(vectors & ~7) << 2); to < end; to += 32, at += 8 * size) {
      v128.store(to, madd(x, four(at, dtype), v128.load(to)));
      v128.store(to, madd(x, four(at + 4 * size, dtype), v128.load(to, 16)), 16);
    }
    if (vectors & 4) {
      v128.store(to, madd(x, four(at, dtype), v128.load(to)));
      to += 16;
      at += 4 * size;
    }
    for (let c = vectors; c < count; c++, to += 4, at += size) f32.store(to, f32.load(to) + f32.load(a) * one(at, dtype));
  }
}

/** sums[r] += a[r][0] b0 + a[r][1] b1. */
@inline
function addPair(
  b0: usize,
  b1: usize,
  vectors: i32,
  count: i32,
  rows: i32,
  a: usize,
  aStep: usize,
  sums: usize,
  step: usize,
  dtype: i32,
): void {
  const size: usize = dtype == BF16 ? 2 : 4;
  for (let r: i32 = 0; r < rows; r++, a += aStep, sums += step) {
    const x = v128.load32_splat(a);
    const y = v128.load32_splat(a, 4);
    let to = sums;
    let at: usize = 0;
    for (const end = sums + (<usize>vectors << 2); to < end; to += 16, at += 4 * size)
      v128.store(to, madd(y, four(b1 + at, dtype), madd(x, four(b0 + at, dtype), v128.load(to))));
    for (let c = vectors; c < count; c++, to += 4, at += size)
      f32.store(to, f32.load(to) + one(b0 + at, dtype) * f32.load(a) + one(b1 + at, dtype) * f32.load(a, 4));
  }
}

/** Four terms of b in bfloat16, so that sums, which are as long as two of them, are read and written once for all. */
function addFourBF16(b: usize, next: usize, vectors: i32, count: i32, rows: i32, a: usize, aStep: usize, sums: usize, step: usize): void {
  for (let r: i32 = 0; r < rows; r++, a += aStep, sums += step) {
    const x = v128.load32_splat(a);
    const y = v128.load32_splat(a, 4);
    const z = v128.load32_splat(a, 8);
    const w = v128.load32_splat(a, 12);
    let b0 = b;
    let b1 = b + next;
    let b2 = b1 + next;
    let b3 = b2 + next;
    let to = sums;
    for (const end = sums + (<usize>vectors << 2); to < end; to += 16, b0 += 8, b1 += 8, b2 += 8, b3 += 8) {
      const s = madd(y, four(b1, BF16), madd(x, four(b0, BF16), v128.load(to)));
      v128.store(to, madd(w, four(b3, BF16), madd(z, four(b2, BF16), s)));
    }
    for (let c = vectors; c < count; c++, to += 4, b0 += 2, b1 += 2, b2 += 2, b3 += 2) {
      const s = f32.load(to) + one(b0, BF16) * f32.load(a) + one(b1, BF16) * f32.load(a, 4);
      f32.store(to, s + one(b2, BF16) * f32.load(a, 8) + one(b3, BF16) * f32.load(a, 12));
    }
  }
}

/** Some columns, the terms of each of which lie side by side. */
export function fewRowsAlong(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FewRowsParams>(params);
  const rows = p.a.lanes;
  const columns = p.b.lanes;
  const depth = p.depth;
  const first = task * p.strip;
  const past = min(first + p.strip, columns);
  const b = p.b;
  const dtype = b.dtype;
  const step = b.lane * bytesOf(dtype);
  const aStep = <usize>depth << 2;
  let from = b.address + <usize>first * step;
  for (let column = first; column < past; column++, from += step) {
    let to = p.parts + (<usize>column << 2);
    let a = p.left;
    let r: i32 = 0;
    if (dtype == F32 || dtype == BF16) {
      for (; r + 4 <= rows; r += 4, a += 4 * aStep, to += <usize>columns << 4) {
        const sums = dtype == F32 ? fourDotsF32(a, aStep, from, depth) : fourDotsBF16(a, aStep, from, depth);
        f32.store(to, f32x4.extract_lane(sums, 0));
        f32.store(to + (<usize>columns << 2), f32x4.extract_lane(sums, 1));
        f32.store(to + (<usize>columns << 3), f32x4.extract_lane(sums, 2));
        f32.store(to + <usize>columns * 12, f32x4.extract_lane(sums, 3));
      }
      for (; r < rows; r++, a += aStep, to += <usize>columns << 2)
        f32.store(to, dtype == F32 ? oneDotF32(a, from, depth) : oneDotBF16(a, from, depth));
      continue;
    }
    for (; r < rows; r++, to += <usize>columns << 2) f32.store(to, 0);
    // What is converted is taken in pieces that fit working memory.
    for (let k: i32 = 0; k < depth; k += LONGEST_STRIP) {
      const terms = min(LONGEST_STRIP, depth - k);
      const strip = loadRow(from + <usize>k * bytesOf(dtype), 1, dtype, terms, scratch + STRIP);
      to = p.parts + (<usize>column << 2);
      a = p.left + (<usize>k << 2);
      for (r = 0; r < rows; r++, a += aStep, to += <usize>columns << 2)
        f32.store(to, f32.load(to) + oneDotF32(a, strip, terms));
    }
  }
}

@inline
function oneDot(a: usize, b: usize, count: i32, dtype: i32): f32 {
  const size: usize = dtype == BF16 ? 2 : 4;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let k: i32 = 0;
  for (; k + 16 <= count; k += 16, a += 64, b += 16 * size) {
    s0 = madd(v128.load(a), four(b, dtype), s0);
    s1 = madd(v128.load(a, 16), four(b + 4 * size, dtype), s1);
    s2 = madd(v128.load(a, 32), four(b + 8 * size, dtype), s2);
    s3 = madd(v128.load(a, 48), four(b + 12 * size, dtype), s3);
  }
  s0 = f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3));
  for (; k + 4 <= count; k += 4, a += 16, b += 4 * size) s0 = madd(v128.load(a), four(b, dtype), s0);
  let sum = sumOfLanes(s0);
  for (; k < count; k++, a += 4, b += size) sum += f32.load(a) * one(b, dtype);
  return sum;
}

/** Four rows of a times one of b. */
@inline
function fourDots(a: usize, aStep: usize, b: usize, count: i32, dtype: i32): v128 {
  const size: usize = dtype == BF16 ? 2 : 4;
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  let a0 = a;
  let a1 = a + aStep;
  let a2 = a + 2 * aStep;
  let a3 = a + 3 * aStep;
  let k: i32 = 0;
  for (; k + 8 <= count; k += 8, a0 += 32, a1 += 32, a2 += 32, a3 += 32, b += 8 * size) {
    const x = four(b, dtype);
    const y = four(b + 4 * size, dtype);
    s0 = madd(x, v128.load(a0), s0);
    s1 = madd(x, v128.load(a1), s1);
    s2 = madd(x, v128.load(a2), s2);
    s3 = madd(x, v128.load(a3), s3);
    t0 = madd(y, v128.load(a0, 16), t0);
    t1 = madd(y, v128.load(a1, 16), t1);
    t2 = madd(y, v128.load(a2, 16), t2);
    t3 = madd(y, v128.load(a3, 16), t3);
  }
  let r0 = sumOfLanes(f32x4.add(s0, t0));
  let r1 = sumOfLanes(f32x4.add(s1, t1));
  let r2 = sumOfLanes(f32x4.add(s2, t2));
  let r3 = sumOfLanes(f32x4.add(s3, t3));
  for (; k < count; k++, a0 += 4, a1 += 4, a2 += 4, a3 += 4, b += size) {
    const x = one(b, dtype);
    r0 += x * f32.load(a0);
    r1 += x * f32.load(a1);
    r2 += x * f32.load(a2);
    r3 += x * f32.load(a3);
  }
  return f32x4(r0, r1, r2, r3);
}

/** A strip of a row of the result: the sums of all splits, the bias, and what the epilogue makes of it. */
export function fewRowsFinish(params: usize, task: i32, scratch: usize): void {
  const p = changetype<FewRowsParams>(params);
  const rows = p.a.lanes;
  const columns = p.b.lanes;
  const strips = (columns + FINISHED - 1) / FINISHED;
  const row = task / strips;
  const column = (task % strips) * FINISHED;
  const count = min(FINISHED, columns - column);
  const bytes = <usize>count << 2;
  const sums = scratch + STRIP;
  const pitch = p.pitch;
  const step = <usize>(rows * pitch) << 2;
  const first = p.parts + (<usize>(row * pitch + column) << 2);
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
