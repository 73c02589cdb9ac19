/** Sums of the products of one row of weights with one, two or four rows of x, rounded or not. */
import { fieldsOf, four, scaleOf } from '../../runtime/wasm/assembly/fours.as';
import { loadElement } from '../../runtime/wasm/assembly/storage.as';
import { dot, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { codesOf, factorsOf, highNibbles, lowNibbles, unpackRow } from './blocks.as';
import { BLOCK, F16, LONG_TERMS, Product, ProductsParams, Q4 } from './params.generated.as';

const BLOCKS_BYTES: usize = <usize>(LONG_TERMS / BLOCK * 4);

// Working memory: scales and minima of a row of weights, its scales times those of four rows of x, and the row itself.
const SCALES: usize = 0;
const MINIMA: usize = SCALES + BLOCKS_BYTES;
const FACTORS: usize = MINIMA + BLOCKS_BYTES;
const ROW: usize = FACTORS + 4 * BLOCKS_BYTES;
export const FEW_BYTES: usize = ROW + <usize>LONG_TERMS * 4;

/** A column of the result: some terms of a row of weights with all rows of x. */
export function addExact(p: ProductsParams, own: Product, column: i32, term: i32, terms: i32, scratch: usize): void {
  unpackRow(own.weight, column, term, terms, scratch + ROW, scratch + SCALES);
  let x = p.left + (<usize>term << 2);
  let to = own.out + (<usize>column << 2);
  for (let r: i32 = 0; r < p.rows; r++, x += <usize>p.depth << 2, to += <usize>own.columns << 2)
    put(to, dot(x, scratch + ROW, <usize>terms << 2), term == 0);
}

@inline
function put(to: usize, value: f32, isFirst: bool): void {
  f32.store(to, isFirst ? value : f32.load(to) + value);
}

export function addRounded(p: ProductsParams, own: Product, column: i32, term: i32, terms: i32, scratch: usize): void {
  const w = own.weight;
  const isFour = w.type == Q4;
  const blocks = terms / BLOCK;
  const bytes = <usize>blocks << 2;
  const weights = factorsOf(w.scales, w, column, term, terms, scratch + SCALES);
  const minima = w.minima ? factorsOf(w.minima, w, column, term, terms, scratch + MINIMA) : weights;
  const toMinimum: f32 = w.minima ? 1 : -8;
  const codes = codesOf(w, column, term);
  const factors = scratch + FACTORS;
  const step = <usize>(p.depth / BLOCK) << 2;
  const xStep = <usize>p.depth;
  const first = <usize>(term / BLOCK) << 2;
  let x = p.left + <usize>term;
  let to = own.out + (<usize>column << 2);
  for (let r: i32 = 0; r < p.rows; ) {
    const left = p.rows - r;
    const count = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const scales = p.scales + <usize>r * step + first;
    for (let i: i32 = 0; i < count; i++)
      multiply(weights, scales + <usize>i * step, bytes, factors + <usize>i * BLOCKS_BYTES);
    let found: v128;
    if (isFour) {
      if (count == 4) found = fourBitsByFour(codes, x, xStep, factors, blocks);
      else if (count == 2) found = fourBitsByTwo(codes, x, xStep, factors, blocks);
      else found = fourBitsByOne(codes, x, xStep, factors, blocks);
    } else {
      if (count == 4) found = eightBitsByFour(codes, x, xStep, factors, blocks);
      else if (count == 2) found = eightBitsByTwo(codes, x, xStep, factors, blocks);
      else found = eightBitsByOne(codes, x, xStep, factors, blocks);
    }
    for (let i: i32 = 0; i < count; i++, r++, to += <usize>own.columns << 2) {
      let value = f32x4.extract_lane(found, 0);
      found = i32x4.shuffle(found, found, 1, 2, 3, 0);
      if (isFour) value += toMinimum * dot(minima, p.sums + <usize>r * step + first, bytes);
      put(to, value, term == 0);
    }
    x += <usize>count * xStep;
  }
}

/** Whether `addOneRow` takes these products. */
@inline
export function isOneRow(p: ProductsParams, own: Product): bool {
  return p.isRounded && p.rows == 1 && (own.weight.type != Q4 || ASC_FEATURE_RELAXED_SIMD);
}

/** Columns of the result of one rounded row: some terms, of four blocks at a time, whose sums share what comes after the integers. */
export function addOneRow(p: ProductsParams, own: Product, column: i32, past: i32, term: i32, terms: i32, scratch: usize): void {
  const w = own.weight;
  const isFour = w.type == Q4;
  const blocks = terms / BLOCK;
  const at = <usize>(term / BLOCK) << 2;
  const xScales = p.scales + at;
  const xSums = p.sums + at;
  let x = p.left + <usize>term;
  if (!isFour) x = widened(x, terms, scratch);
  for (; column < past; column++) {
    const codes = codesOf(w, column, term);
    const place = (<usize>column * <usize>(w.width / BLOCK) + <usize>(term / BLOCK)) << 1;
    let sum: f32;
    if (!isFour) sum = eightBitsOfOne(codes, x, w.scales + place, xScales, blocks);
    else if (w.minima) sum = fourBitsAndMinima(codes, x, w.scales + place, w.minima + place, xScales, xSums, blocks);
    else sum = fourBitsOfOne(codes, x, w.scales + place, xScales, xSums, blocks);
    put(own.out + (<usize>column << 2), sum, term == 0);
  }
}

/** Integers of 8 bits as 16; where they are. */
function widened(x: usize, terms: i32, to: usize): usize {
  for (let at: usize = 0; at < <usize>terms; at += 8) v128.store(to + (at << 1), v128.load8x8_s(x + at));
  return to;
}

/** Four f16, which are numbers, as f32. */
@inline
function halves(at: usize, fields: v128, scale: v128): v128 {
  return f32x4.mul(four<i16>(at, fields), scale);
}

function eightBitsOfOne(codes: usize, x: usize, scales: usize, xScales: usize, blocks: i32): f32 {
  const fields = fieldsOf<i16>();
  const scale = scaleOf<i16>();
  let sum = f32x4.splat(0);
  let b: i32 = 0;
  for (; b + 4 <= blocks; b += 4, codes += 4 * BLOCK, x += 8 * BLOCK, scales += 8, xScales += 16) {
    const dots = fourIntegerSums(
      eightDots(codes, x), eightDots(codes + BLOCK, x + 2 * BLOCK),
      eightDots(codes + 2 * BLOCK, x + 4 * BLOCK), eightDots(codes + 3 * BLOCK, x + 6 * BLOCK),
    );
    sum = f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(dots), f32x4.mul(halves(scales, fields, scale), v128.load(xScales))));
  }
  let rest = sumOfLanes(sum);
  for (; b < blocks; b++, codes += BLOCK, x += 2 * BLOCK, scales += 2, xScales += 4) {
    const factor = loadElement(scales, F16) * f32.load(xScales);
    rest += sumOfLanes(f32x4.convert_i32x4_s(eightDots(codes, x))) * factor;
  }
  return rest;
}

function fourBitsOfOne(codes: usize, x: usize, scales: usize, xScales: usize, xSums: usize, blocks: i32): f32 {
  return fourBits(codes, x, scales, 0, xScales, xSums, blocks);
}

function fourBitsAndMinima(
  codes: usize, x: usize, scales: usize, minima: usize, xScales: usize, xSums: usize, blocks: i32,
): f32 {
  return fourBits(codes, x, scales, minima, xScales, xSums, blocks);
}

/** With minima at an address that is not 0, else integers that count from -8. */
@inline
function fourBits(codes: usize, x: usize, scales: usize, minima: usize, xScales: usize, xSums: usize, blocks: i32): f32 {
  const fields = fieldsOf<i16>();
  const scale = scaleOf<i16>();
  let sum = f32x4.splat(0);
  let start = sum;
  let b: i32 = 0;
  for (; b + 4 <= blocks; b += 4, codes += 2 * BLOCK, x += 4 * BLOCK, scales += 8, xScales += 16, xSums += 16) {
    const dots = fourIntegerSums(
      fourDots(codes, x), fourDots(codes + BLOCK / 2, x + BLOCK),
      fourDots(codes + BLOCK, x + 2 * BLOCK), fourDots(codes + 3 * BLOCK / 2, x + 3 * BLOCK),
    );
    const own = halves(scales, fields, scale);
    sum = f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(dots), f32x4.mul(own, v128.load(xScales))));
    if (minima) {
      start = f32x4.add(start, f32x4.mul(halves(minima, fields, scale), v128.load(xSums)));
      minima += 8;
    } else start = f32x4.add(start, f32x4.mul(own, v128.load(xSums)));
  }
  let rest = sumOfLanes(sum);
  let low = sumOfLanes(start);
  for (; b < blocks; b++, codes += BLOCK / 2, x += BLOCK, scales += 2, xScales += 4, xSums += 4) {
    const own = loadElement(scales, F16);
    rest += sumOfLanes(f32x4.convert_i32x4_s(fourDots(codes, x))) * (own * f32.load(xScales));
    if (minima) {
      low += loadElement(minima, F16) * f32.load(xSums);
      minima += 2;
    } else low += own * f32.load(xSums);
  }
  return rest + (minima ? low : -8 * low);
}

/** The products of a block of 8 bits with integers of 16, in four sums. */
@inline
function eightDots(codes: usize, x: usize): v128 {
  const a = i32x4.add(
    i32x4.dot_i16x8_s(v128.load8x8_s(codes), v128.load(x)), i32x4.dot_i16x8_s(v128.load8x8_s(codes, 8), v128.load(x, 16)),
  );
  const b = i32x4.add(
    i32x4.dot_i16x8_s(v128.load8x8_s(codes, 16), v128.load(x, 32)), i32x4.dot_i16x8_s(v128.load8x8_s(codes, 24), v128.load(x, 48)),
  );
  return i32x4.add(a, b);
}

@inline
function fourDots(codes: usize, x: usize): v128 {
  const bytes = v128.load(codes);
  if (!ASC_FEATURE_RELAXED_SIMD) return bytes;
  const low = i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(x), lowNibbles(bytes));
  const high = i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(x, 16), highNibbles(bytes));
  return i32x4.extadd_pairwise_i16x8_s(i16x8.add(low, high));
}

/** The sum of each vector's lanes. */
@inline
function fourIntegerSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
  const cd = i32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return i32x4.add(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
}

function multiply(a: usize, b: usize, bytes: usize, to: usize): void {
  // Working memory has room for what is computed past the end.
  for (const past = to + bytes; to < past; to += 16, a += 16, b += 16) v128.store(to, f32x4.mul(v128.load(a), v128.load(b)));
}

// Functions of their own, since the optimiser folds branches that differ by a constant into one that looks at it each time.

function eightBitsByFour(codes: usize, x: usize, xStep: usize, factors: usize, blocks: i32): v128 {
  return sums(codes, x, xStep, factors, blocks, 4, false);
}

function eightBitsByTwo(codes: usize, x: usize, xStep: usize, factors: usize, blocks: i32): v128 {
  return sums(codes, x, xStep, factors, blocks, 2, false);
}

function eightBitsByOne(codes: usize, x: usize, xStep: usize, factors: usize, blocks: i32): v128 {
  return sums(codes, x, xStep, factors, blocks, 1, false);
}

function fourBitsByFour(codes: usize, x: usize, xStep: usize, factors: usize, blocks: i32): v128 {
  return sums(codes, x, xStep, factors, blocks, 4, true);
}

function fourBitsByTwo(codes: usize, x: usize, xStep: usize, factors: usize, blocks: i32): v128 {
  return sums(codes, x, xStep, factors, blocks, 2, true);
}

function fourBitsByOne(codes: usize, x: usize, xStep: usize, factors: usize, blocks: i32): v128 {
  return sums(codes, x, xStep, factors, blocks, 1, true);
}

/** The sums of blocks with each row of x, one a lane; `rows`, 1, 2 or 4, and `isFour` are constants. */
@inline
function sums(codes: usize, x: usize, xStep: usize, factors: usize, blocks: i32, rows: i32, isFour: bool): v128 {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  const x1 = x + xStep;
  const x2 = x1 + xStep;
  const x3 = x2 + xStep;
  let at: usize = 0;
  for (const past = factors + (<usize>blocks << 2); factors < past; factors += 4, at += BLOCK) {
    // Four vectors of 16-bit integers; two of 8 bits where the build multiplies integers of 4 bits as they are.
    let w0 = s0;
    let w1 = s0;
    let w2 = s0;
    let w3 = s0;
    if (isFour) {
      const bytes = v128.load(codes);
      w0 = lowNibbles(bytes);
      w2 = highNibbles(bytes);
      if (!ASC_FEATURE_RELAXED_SIMD) {
        w1 = i16x8.extend_high_i8x16_u(w0);
        w3 = i16x8.extend_high_i8x16_u(w2);
        w0 = i16x8.extend_low_i8x16_u(w0);
        w2 = i16x8.extend_low_i8x16_u(w2);
      }
      codes += 16;
    } else {
      w0 = v128.load8x8_s(codes);
      w1 = v128.load8x8_s(codes, 8);
      w2 = v128.load8x8_s(codes, 16);
      w3 = v128.load8x8_s(codes, 24);
      codes += 32;
    }
    s0 = withBlock(isFour, w0, w1, w2, w3, x + at, v128.load32_splat(factors), s0);
    if (rows > 1) s1 = withBlock(isFour, w0, w1, w2, w3, x1 + at, v128.load32_splat(factors, BLOCKS_BYTES), s1);
    if (rows > 2) {
      s2 = withBlock(isFour, w0, w1, w2, w3, x2 + at, v128.load32_splat(factors, 2 * BLOCKS_BYTES), s2);
      s3 = withBlock(isFour, w0, w1, w2, w3, x3 + at, v128.load32_splat(factors, 3 * BLOCKS_BYTES), s3);
    }
  }
  if (rows == 1) return f32x4.splat(sumOfLanes(s0));
  if (rows == 2) return f32x4(sumOfLanes(s0), sumOfLanes(s1), 0, 0);
  return f32x4(sumOfLanes(s0), sumOfLanes(s1), sumOfLanes(s2), sumOfLanes(s3));
}

/** Integers are summed exactly and the rest is not fused, so that both builds give the same bits. */
@inline
function withBlock(isFour: bool, w0: v128, w1: v128, w2: v128, w3: v128, x: usize, factor: v128, sum: v128): v128 {
  return f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(dotsOf(isFour, w0, w1, w2, w3, x)), factor));
}

@inline
function dotsOf(isFour: bool, w0: v128, w1: v128, w2: v128, w3: v128, x: usize): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    if (isFour) {
      const low = i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(x), w0);
      const high = i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(x, 16), w2);
      return i32x4.extadd_pairwise_i16x8_s(i16x8.add(low, high));
    }
  }
  const a = i32x4.add(i32x4.dot_i16x8_s(w0, v128.load8x8_s(x)), i32x4.dot_i16x8_s(w1, v128.load8x8_s(x, 8)));
  const b = i32x4.add(i32x4.dot_i16x8_s(w2, v128.load8x8_s(x, 16)), i32x4.dot_i16x8_s(w3, v128.load8x8_s(x, 24)));
  return i32x4.add(a, b);
}
