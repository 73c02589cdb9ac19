/** Rows of weights in slices of eight columns, [terms][8], as the micro-kernels read them; that of rounded rows. */
import { storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { fieldsOf, scaleOf } from '../../runtime/wasm/assembly/fours.as';
import { SLICE } from '../../runtime/cpu/params.generated.as';
import { codesOf, highNibbles, lowNibbles, unpackRow } from './blocks.as';
import { BLOCK, Q8, ROUNDED_PANEL, TERMS, Weight } from './params.generated.as';

const TERMS_BYTES: usize = <usize>(TERMS * 4);
const BLOCKS_BYTES: usize = <usize>(TERMS / BLOCK * 4);
/** Slices that a block of columns has. */
export const GROUP: i32 = BLOCK / SLICE;
export const SLICE_BYTES: usize = <usize>SLICE * TERMS_BYTES;

// Working memory: slices [terms][8], scales and minima of one [blocks][8], eight rows, and what unpacking one of them needs.
export const SLICES: usize = 0;
export const SCALES: usize = SLICES + <usize>GROUP * SLICE_BYTES;
export const MINIMA: usize = SCALES + <usize>SLICE * BLOCKS_BYTES;
const LANES: usize = MINIMA + <usize>SLICE * BLOCKS_BYTES;
const FACTORS: usize = LANES + <usize>SLICE * TERMS_BYTES;
export const SLICES_BYTES: usize = FACTORS + 2 * BLOCKS_BYTES;

/** Reads a word of each cache line of a slice of integers, so that lines come from memory many at a time; unpacking would wait for a few. */
export function fetchSlice(w: Weight, row: i32, rows: i32, scratch: usize): void {
  let all: i32 = 0;
  for (let at = codesOf(w, row, 0), past = codesOf(w, min(row + SLICE, rows), 0); at < past; at += 64) all |= i32.load(at);
  // Otherwise nothing would be read.
  i32.store(scratch, all);
}

/** A slice of rows of weights from `row` on as floats, those past the last one zeros. */
export function unpackSlice(w: Weight, row: i32, rows: i32, term: i32, terms: i32, scratch: usize): void {
  const lanes = scratch + LANES;
  const count = min(SLICE, rows - row);
  if (count < SLICE) memory.fill(lanes, 0, <usize>SLICE * TERMS_BYTES);
  for (let lane: i32 = 0; lane < count; lane++)
    unpackRow(w, row + lane, term, terms, lanes + <usize>lane * TERMS_BYTES, scratch + FACTORS);
  turn(lanes, TERMS_BYTES, terms, scratch + SLICES);
}

/** A slice as i16 in pairs, with scales and minima; rows past the last one are copies of it. */
export function unpackIntegerSlice(w: Weight, row: i32, rows: i32, term: i32, terms: i32, scratch: usize): void {
  const to = scratch + SLICES;
  for (let lane: i32 = 0; lane < SLICE; lane += 4) {
    const first = row + lane;
    const a = codesOf(w, min(first, rows - 1), term);
    const b = codesOf(w, min(first + 1, rows - 1), term);
    const c = codesOf(w, min(first + 2, rows - 1), term);
    const d = codesOf(w, min(first + 3, rows - 1), term);
    if (w.type == Q8) eightBitPairs(a, b, c, d, terms, to + (<usize>lane << 2));
    else fourBitPairs(a, b, c, d, terms, i8x16.splat(w.minima ? 0 : 8), to + (<usize>lane << 2));
  }
  unpackFactors(w.scales, w, row, rows, term, terms, scratch + SCALES);
  if (w.minima) unpackFactors(w.minima, w, row, rows, term, terms, scratch + MINIMA);
}

function eightBitPairs(a: usize, b: usize, c: usize, d: usize, terms: i32, to: usize): void {
  for (const past = a + <usize>terms; a < past; a += 8, b += 8, c += 8, d += 8, to += 128)
    storeTransposed(v128.load8x8_s(a), v128.load8x8_s(b), v128.load8x8_s(c), v128.load8x8_s(d), to, 32);
}

function fourBitPairs(a: usize, b: usize, c: usize, d: usize, terms: i32, middle: v128, to: usize): void {
  for (const past = a + <usize>(terms >> 1); a < past; a += 16, b += 16, c += 16, d += 16, to += 512) {
    const w = v128.load(a);
    const x = v128.load(b);
    const y = v128.load(c);
    const z = v128.load(d);
    storePairs(lowNibbles(w), lowNibbles(x), lowNibbles(y), lowNibbles(z), middle, to);
    storePairs(highNibbles(w), highNibbles(x), highNibbles(y), highNibbles(z), middle, to + 256);
  }
}

/** Sixteen integers from each of four rows, less `middle`. */
@inline
function storePairs(a: v128, b: v128, c: v128, d: v128, middle: v128, to: usize): void {
  a = i8x16.sub(a, middle);
  b = i8x16.sub(b, middle);
  c = i8x16.sub(c, middle);
  d = i8x16.sub(d, middle);
  storeTransposed(
    i16x8.extend_low_i8x16_s(a), i16x8.extend_low_i8x16_s(b), i16x8.extend_low_i8x16_s(c), i16x8.extend_low_i8x16_s(d), to, 32,
  );
  storeTransposed(
    i16x8.extend_high_i8x16_s(a), i16x8.extend_high_i8x16_s(b), i16x8.extend_high_i8x16_s(c), i16x8.extend_high_i8x16_s(d),
    to + 128, 32,
  );
}

/** Scales or minima, finite ones, of a slice's blocks in f32, [blocks][8]. */
function unpackFactors(from: usize, w: Weight, row: i32, rows: i32, term: i32, terms: i32, to: usize): void {
  const fields = fieldsOf<i16>();
  const scale = scaleOf<i16>();
  const step = w.width / BLOCK;
  for (let lane: i32 = 0; lane < SLICE; lane++) {
    let at = from + ((<usize>min(row + lane, rows - 1) * <usize>step + <usize>(term / BLOCK)) << 1);
    let place = to + (<usize>lane << 2);
    for (const past = at + (<usize>(terms / BLOCK) << 1); at < past; at += 2, place += 32) {
      const half = v128.and(i32x4.shl(i32x4.splat(i32.load16_s(at)), 13), fields);
      v128.store32_lane(place, f32x4.mul(half, scale), 0);
    }
  }
}

/** Eight lanes of words, `step` bytes apart, as [words][8]. */
function turn(from: usize, step: usize, words: i32, to: usize): void {
  const half = from + 4 * step;
  const bytes = <usize>words << 2;
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16, to += 128) {
    transpose(from + at, step, to);
    transpose(half + at, step, to + 16);
  }
  for (; at < bytes; at += 4)
    for (let lane: usize = 0; lane < <usize>SLICE; lane++, to += 4) i32.store(to, i32.load(from + lane * step + at));
}

@inline
function transpose(from: usize, step: usize, to: usize): void {
  storeTransposed(v128.load(from), v128.load(from + step), v128.load(from + 2 * step), v128.load(from + 3 * step), to, 32);
}

/** Four slices of a block of columns of weights: rows from `row` on are the terms. */
export function unpackAcross(w: Weight, row: i32, terms: i32, column: i32, scratch: usize): void {
  const room = scratch + LANES;
  let to = scratch + SLICES;
  for (let term: i32 = 0; term < terms; term++, to += 32) {
    unpackRow(w, row + term, column, min(BLOCK, w.width - column), room, room + BLOCK * 4);
    for (let slice: usize = 0; slice < <usize>GROUP; slice++) {
      v128.store(to + slice * SLICE_BYTES, v128.load(room + 32 * slice));
      v128.store(to + slice * SLICE_BYTES, v128.load(room + 32 * slice, 16), 16);
    }
  }
}

/**
 * c[4][8] += the products of four rounded rows, a[depth / 2][4] of pairs with scales and sums [blocks][4], and a slice of
 * integers, b[depth / 2][8] of pairs with scales and, if there are any, minima [blocks][8].
 */
export function roundedProduct(
  a: usize,
  aScales: usize,
  aSums: usize,
  b: usize,
  bScales: usize,
  bMinima: usize,
  blocks: i32,
  c: usize,
): void {
  for (let block: i32 = 0; block < blocks; block++) {
    let x0 = i32x4.splat(0);
    let y0 = x0;
    let x1 = x0;
    let y1 = x0;
    let x2 = x0;
    let y2 = x0;
    let x3 = x0;
    let y3 = x0;
    for (const past = b + BLOCK * SLICE * 2; b < past; b += 32, a += ROUNDED_PANEL * 4) {
      const left = v128.load(b);
      const right = v128.load(b, 16);
      let s = v128.load32_splat(a);
      x0 = i32x4.add(x0, i32x4.dot_i16x8_s(s, left));
      y0 = i32x4.add(y0, i32x4.dot_i16x8_s(s, right));
      s = v128.load32_splat(a, 4);
      x1 = i32x4.add(x1, i32x4.dot_i16x8_s(s, left));
      y1 = i32x4.add(y1, i32x4.dot_i16x8_s(s, right));
      s = v128.load32_splat(a, 8);
      x2 = i32x4.add(x2, i32x4.dot_i16x8_s(s, left));
      y2 = i32x4.add(y2, i32x4.dot_i16x8_s(s, right));
      s = v128.load32_splat(a, 12);
      x3 = i32x4.add(x3, i32x4.dot_i16x8_s(s, left));
      y3 = i32x4.add(y3, i32x4.dot_i16x8_s(s, right));
    }
    const left = v128.load(bScales);
    const right = v128.load(bScales, 16);
    addScaled(c, x0, y0, left, right, v128.load32_splat(aScales));
    addScaled(c + 32, x1, y1, left, right, v128.load32_splat(aScales, 4));
    addScaled(c + 64, x2, y2, left, right, v128.load32_splat(aScales, 8));
    addScaled(c + 96, x3, y3, left, right, v128.load32_splat(aScales, 12));
    if (bMinima) {
      const low = v128.load(bMinima);
      const high = v128.load(bMinima, 16);
      for (let row: usize = 0; row < <usize>ROUNDED_PANEL; row++) {
        const sum = v128.load32_splat(aSums + 4 * row);
        const to = c + 32 * row;
        v128.store(to, f32x4.add(v128.load(to), f32x4.mul(low, sum)));
        v128.store(to, f32x4.add(v128.load(to, 16), f32x4.mul(high, sum)), 16);
      }
      bMinima += 32;
    }
    bScales += 32;
    aScales += ROUNDED_PANEL * 4;
    aSums += ROUNDED_PANEL * 4;
  }
}

/** Not fused, so that both builds give the same bits. */
@inline
function addScaled(to: usize, x: v128, y: v128, left: v128, right: v128, scale: v128): void {
  v128.store(to, f32x4.add(v128.load(to), f32x4.mul(f32x4.convert_i32x4_s(x), f32x4.mul(left, scale))));
  v128.store(to, f32x4.add(v128.load(to, 16), f32x4.mul(f32x4.convert_i32x4_s(y), f32x4.mul(right, scale))), 16);
}
