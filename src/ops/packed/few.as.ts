/** Sums of the products of rows of weights, one at a time, with few rows of x, rounded or not. */
import { fieldsOf, four, scaleOf } from '../../runtime/wasm/assembly/fours.as';
import { loadElement } from '../../runtime/wasm/assembly/storage.as';
import { dot, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { codesOf, highNibbles, lowNibbles, unpackRow } from './blocks.as';
import { BLOCK, F16, LONG_TERMS, Product, ProductsParams, Q4 } from './params.generated.as';

const BLOCKS_BYTES: usize = <usize>(LONG_TERMS / BLOCK * 4);
/** Rounded rows whose sums lie side by side in a vector. */
const LANES: i32 = 4;

// Working memory for exact rows: what unpacking a row of weights needs, and the row.
const ROW: usize = 2 * BLOCKS_BYTES;
const EXACT_BYTES: usize = ROW + <usize>LONG_TERMS * 4;
// For rounded ones: integers of 8 or 16 bits [blocks][lanes][32], scales and sums [blocks][lanes].
const SCALES: usize = <usize>(LANES * LONG_TERMS * 2);
const SUMS: usize = SCALES + <usize>LANES * BLOCKS_BYTES;
export const FEW_BYTES: usize = max(EXACT_BYTES, SUMS + <usize>LANES * BLOCKS_BYTES);

/** A column of the result: some terms of a row of weights with all rows of x. */
export function addExact(p: ProductsParams, own: Product, column: i32, term: i32, terms: i32, scratch: usize): void {
  unpackRow(own.weight, column, term, terms, scratch + ROW, scratch);
  let x = p.left + (<usize>term << 2);
  let to = own.out + (<usize>column << 2);
  for (let r: i32 = 0; r < p.rows; r++, x += <usize>p.depth << 2, to += <usize>own.columns << 2)
    put(to, dot(x, scratch + ROW, <usize>terms << 2), term == 0);
}

@inline
function put(to: usize, value: f32, isFirst: bool): void {
  f32.store(to, isFirst ? value : f32.load(to) + value);
}

/** Columns of the result of rounded rows: some terms. */
export function addRounded(p: ProductsParams, own: Product, first: i32, past: i32, term: i32, terms: i32, scratch: usize): void {
  if (p.rows == 1) {
    addOneRow(p, own, first, past, term, terms, scratch);
    return;
  }
  for (let row: i32 = 0; row < p.rows; row += LANES)
    if (p.rows - row <= 2) addRows(p, own, first, past, row, 2, term, terms, scratch);
    else addRows(p, own, first, past, row, LANES, term, terms, scratch);
}

/** Whether integers of x are multiplied as 16 bits: those of 4 bits are by integers of 8 where the build can. */
@inline
function isWide(own: Product): bool {
  return own.weight.type != Q4 || !ASC_FEATURE_RELAXED_SIMD;
}

/** Where the blocks of a row of weights have their scales or minima. */
@inline
function placeOf(own: Product, column: i32, term: i32): usize {
  return (<usize>column * <usize>(own.weight.width / BLOCK) + <usize>(term / BLOCK)) << 1;
}

/** Sums of two rows or four, those past the last one copies of it. Lanes of two rows are alternating halves of their sums. */
function addRows(
  p: ProductsParams, own: Product, column: i32, past: i32, row: i32, rows: i32, term: i32, terms: i32, scratch: usize,
): void {
  const w = own.weight;
  const blocks = terms / BLOCK;
  for (let lane: i32 = 0; lane < LANES; lane++)
    gather(p, min(row + lane % rows, p.rows - 1), lane, rows, term, blocks, isWide(own), scratch);
  const xScales = scratch + SCALES;
  const xSums = scratch + SUMS;
  const count = min(LANES, p.rows - row);
  const step = <usize>own.columns << 2;
  for (; column < past; column++) {
    const codes = codesOf(w, column, term);
    const place = placeOf(own, column, term);
    const scales = w.scales + place;
    let found: v128;
    if (w.type != Q4) {
      if (rows == 2) found = eightBitsOfTwo(codes, scratch, scales, xScales, blocks);
      else found = eightBitsOfFour(codes, scratch, scales, xScales, blocks);
    } else {
      const minima = w.minima ? w.minima + place : 0;
      if (rows == 2) found = fourBitsOfTwo(codes, scratch, scales, minima, xScales, xSums, blocks);
      else found = fourBitsOfFour(codes, scratch, scales, minima, xScales, xSums, blocks);
    }
    if (rows == 2) found = f32x4.add(found, i32x4.shuffle(found, found, 2, 3, 0, 1));
    let to = own.out + ((<usize>row * <usize>own.columns + <usize>column) << 2);
    for (let lane: i32 = 0; lane < count; lane++, to += step) {
      put(to, f32x4.extract_lane(found, 0), term == 0);
      found = i32x4.shuffle(found, found, 1, 2, 3, 0);
    }
  }
}

/** A rounded row as one of two or four, with its scales and sums as a lane of four. */
function gather(
  p: ProductsParams, row: i32, lane: i32, rows: i32, term: i32, blocks: i32, isWide: bool, scratch: usize,
): void {
  const at = (<usize>row * <usize>(p.depth / BLOCK) + <usize>(term / BLOCK)) << 2;
  let x = p.left + <usize>row * <usize>p.depth + <usize>term;
  for (let b: i32 = 0; b < blocks; b++, x += BLOCK) {
    const to = <usize>(b * rows + lane % rows) * BLOCK;
    if (isWide) widen(x, BLOCK, scratch + 2 * to);
    else memory.copy(scratch + to, x, BLOCK);
    const place = <usize>(b * LANES + lane);
    f32.store(scratch + SCALES + (place << 2), f32.load(p.scales + at + (<usize>b << 2)));
    // The sum of a row is added once, its products in two halves.
    f32.store(scratch + SUMS + (place << 2), lane < rows ? f32.load(p.sums + at + (<usize>b << 2)) : 0);
  }
}

/** Sums of one row, of four blocks at a time, which share what comes after the integers. */
function addOneRow(p: ProductsParams, own: Product, column: i32, past: i32, term: i32, terms: i32, scratch: usize): void {
  const w = own.weight;
  const blocks = terms / BLOCK;
  const at = <usize>(term / BLOCK) << 2;
  const xScales = p.scales + at;
  const xSums = p.sums + at;
  let x = p.left + <usize>term;
  if (isWide(own)) x = widen(x, terms, scratch);
  for (; column < past; column++) {
    const codes = codesOf(w, column, term);
    const place = placeOf(own, column, term);
    let sum: f32;
    if (w.type != Q4) sum = eightBitsOfOne(codes, x, w.scales + place, xScales, blocks);
    else if (w.minima) sum = fourBitsAndMinima(codes, x, w.scales + place, w.minima + place, xScales, xSums, blocks);
    else sum = fourBitsOfOne(codes, x, w.scales + place, xScales, xSums, blocks);
    put(own.out + (<usize>column << 2), sum, term == 0);
  }
}

/** Integers of 8 bits as 16; where they are. */
function widen(x: usize, terms: i32, to: usize): usize {
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
  for (; b + 4 <= blocks; b += 4, codes += 2 * BLOCK, x += 4 * FOUR_STEP, scales += 8, xScales += 16, xSums += 16) {
    const dots = nibbleSums(
      fourDots(codes, x), fourDots(codes + BLOCK / 2, x + FOUR_STEP),
      fourDots(codes + BLOCK, x + 2 * FOUR_STEP), fourDots(codes + 3 * BLOCK / 2, x + 3 * FOUR_STEP),
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
  for (; b < blocks; b++, codes += BLOCK / 2, x += FOUR_STEP, scales += 2, xScales += 4, xSums += 4) {
    const own = loadElement(scales, F16);
    rest += sumOfLanes(f32x4.convert_i32x4_s(words(fourDots(codes, x)))) * (own * f32.load(xScales));
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
  return wideDots(
    v128.load8x8_s(codes), v128.load8x8_s(codes, 8), v128.load8x8_s(codes, 16), v128.load8x8_s(codes, 24), x,
  );
}

@inline
function wideDots(w0: v128, w1: v128, w2: v128, w3: v128, x: usize): v128 {
  const a = i32x4.add(i32x4.dot_i16x8_s(w0, v128.load(x)), i32x4.dot_i16x8_s(w1, v128.load(x, 16)));
  const b = i32x4.add(i32x4.dot_i16x8_s(w2, v128.load(x, 32)), i32x4.dot_i16x8_s(w3, v128.load(x, 48)));
  return i32x4.add(a, b);
}

/** Bytes of a block of x that is multiplied by integers of 4 bits. */
const FOUR_STEP: usize = ASC_FEATURE_RELAXED_SIMD ? BLOCK : 2 * BLOCK;

@inline
function fourDots(codes: usize, x: usize): v128 {
  const bytes = v128.load(codes);
  return nibbleDots(lowNibbles(bytes), highNibbles(bytes), x);
}

/** The products of a block of 4 bits, in four sums; where the build multiplies integers of 8 bits, in eight of 16 bits. */
@inline
function nibbleDots(low: v128, high: v128, x: usize): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    const a = i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(x), low);
    const b = i16x8.relaxed_dot_i8x16_i7x16_s(v128.load(x, 16), high);
    return i16x8.add(a, b);
  }
  return wideDots(
    i16x8.extend_low_i8x16_u(low), i16x8.extend_high_i8x16_u(low),
    i16x8.extend_low_i8x16_u(high), i16x8.extend_high_i8x16_u(high), x,
  );
}

/** Sums of `nibbleDots` as 32 bits. */
@inline
function words(dots: v128): v128 {
  return ASC_FEATURE_RELAXED_SIMD ? i32x4.extadd_pairwise_i16x8_s(dots) : dots;
}

/** What `fourIntegerSums` gives of sums of `nibbleDots`: four of them, of at most 4 * 127 * 15 each, fit 16 bits. */
@inline
function nibbleSums(a: v128, b: v128, c: v128, d: v128): v128 {
  if (!ASC_FEATURE_RELAXED_SIMD) return fourIntegerSums(a, b, c, d);
  return words(joinedHalves(alternatingHalves(a, b), alternatingHalves(c, d)));
}

@inline
function alternatingHalves(a: v128, b: v128): v128 {
  return i16x8.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
}

@inline
function joinedHalves(ab: v128, cd: v128): v128 {
  return i16x8.add(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
}

/** The scale or minimum of a block in all lanes. */
@inline
function half(at: usize, fields: v128, scale: v128): v128 {
  return f32x4.mul(v128.and(i32x4.shl(i32x4.extend_low_i16x8_s(v128.load16_splat(at)), 13), fields), scale);
}

// Functions of their own, since the optimiser folds branches that differ by a constant into one that looks at it each time.

function eightBitsOfFour(codes: usize, x: usize, scales: usize, xScales: usize, blocks: i32): v128 {
  return eightBitsOfRows(codes, x, scales, xScales, blocks, 4);
}

function eightBitsOfTwo(codes: usize, x: usize, scales: usize, xScales: usize, blocks: i32): v128 {
  return eightBitsOfRows(codes, x, scales, xScales, blocks, 2);
}

@inline
function eightBitsOfRows(codes: usize, x: usize, scales: usize, xScales: usize, blocks: i32, rows: i32): v128 {
  const fields = fieldsOf<i16>();
  const scale = scaleOf<i16>();
  let sum = f32x4.splat(0);
  for (let b: i32 = 0; b < blocks; b++, codes += BLOCK, x += <usize>rows * (2 * BLOCK), scales += 2, xScales += 16) {
    const w0 = v128.load8x8_s(codes);
    const w1 = v128.load8x8_s(codes, 8);
    const w2 = v128.load8x8_s(codes, 16);
    const w3 = v128.load8x8_s(codes, 24);
    let dots = alternating(wideDots(w0, w1, w2, w3, x), wideDots(w0, w1, w2, w3, x + 2 * BLOCK));
    if (rows == 4)
      dots = joined(
        dots, alternating(wideDots(w0, w1, w2, w3, x + 4 * BLOCK), wideDots(w0, w1, w2, w3, x + 6 * BLOCK)),
      );
    sum = f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(dots), f32x4.mul(half(scales, fields, scale), v128.load(xScales))));
  }
  return sum;
}

function fourBitsOfFour(
  codes: usize, x: usize, scales: usize, minima: usize, xScales: usize, xSums: usize, blocks: i32,
): v128 {
  return fourBitsOfRows(codes, x, scales, minima, xScales, xSums, blocks, 4);
}

function fourBitsOfTwo(
  codes: usize, x: usize, scales: usize, minima: usize, xScales: usize, xSums: usize, blocks: i32,
): v128 {
  return fourBitsOfRows(codes, x, scales, minima, xScales, xSums, blocks, 2);
}

/** As `fourBits`. */
@inline
function fourBitsOfRows(
  codes: usize, x: usize, scales: usize, minima: usize, xScales: usize, xSums: usize, blocks: i32, rows: i32,
): v128 {
  const fields = fieldsOf<i16>();
  const scale = scaleOf<i16>();
  let sum = f32x4.splat(0);
  let start = sum;
  const step = <usize>rows * FOUR_STEP;
  for (let b: i32 = 0; b < blocks; b++, codes += BLOCK / 2, x += step, scales += 2, xScales += 16, xSums += 16) {
    const bytes = v128.load(codes);
    const low = lowNibbles(bytes);
    const high = highNibbles(bytes);
    const a = nibbleDots(low, high, x);
    const b = nibbleDots(low, high, x + FOUR_STEP);
    let dots: v128;
    if (rows == 4) dots = nibbleSums(a, b, nibbleDots(low, high, x + 2 * FOUR_STEP), nibbleDots(low, high, x + 3 * FOUR_STEP));
    else dots = ASC_FEATURE_RELAXED_SIMD ? words(alternatingHalves(a, b)) : alternating(a, b);
    const own = half(scales, fields, scale);
    sum = f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(dots), f32x4.mul(own, v128.load(xScales))));
    if (minima) {
      start = f32x4.add(start, f32x4.mul(half(minima, fields, scale), v128.load(xSums)));
      minima += 2;
    } else start = f32x4.add(start, f32x4.mul(own, v128.load(xSums)));
  }
  return f32x4.add(sum, minima ? start : f32x4.mul(start, f32x4.splat(-8)));
}

/** The sum of each vector's lanes. */
@inline
function fourIntegerSums(a: v128, b: v128, c: v128, d: v128): v128 {
  return joined(alternating(a, b), alternating(c, d));
}

/** Halves of the sums of two vectors' lanes: a, b, a, b. */
@inline
function alternating(a: v128, b: v128): v128 {
  return i32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
}

@inline
function joined(ab: v128, cd: v128): v128 {
  return i32x4.add(i64x2.shuffle(ab, cd, 0, 2), i64x2.shuffle(ab, cd, 1, 3));
}
