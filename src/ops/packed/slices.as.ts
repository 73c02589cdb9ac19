/** Rows of weights in slices of eight columns, [terms][8], as the micro-kernels read them; that of rounded rows. */
import { storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { PANEL, SLICE } from '../../runtime/cpu/params.generated.as';
import { factorsOf, unpackIntegers, unpackRow } from './blocks.as';
import { BLOCK, TERMS, Weight } from './params.generated.as';

const TERMS_BYTES: usize = <usize>(TERMS * 4);
const BLOCKS_BYTES: usize = <usize>(TERMS / BLOCK * 4);
/** Slices that a block of columns has. */
export const GROUP: i32 = BLOCK / SLICE;
export const SLICE_BYTES: usize = <usize>SLICE * TERMS_BYTES;

// Working memory: slices [terms][8], scales and minima of one [blocks][8], eight rows, and those of their blocks.
export const SLICES: usize = 0;
export const SCALES: usize = SLICES + <usize>GROUP * SLICE_BYTES;
export const MINIMA: usize = SCALES + <usize>SLICE * BLOCKS_BYTES;
const LANES: usize = MINIMA + <usize>SLICE * BLOCKS_BYTES;
const FACTORS: usize = LANES + <usize>SLICE * TERMS_BYTES;
export const SLICES_BYTES: usize = FACTORS + 2 * <usize>SLICE * BLOCKS_BYTES;

/** A slice of rows of weights from `row` on, those past the last one zeros; rounded ones of i16 in pairs, with scales and minima. */
export function unpackSlice(w: Weight, row: i32, rows: i32, term: i32, terms: i32, isRounded: bool, scratch: usize): void {
  const lanes = scratch + LANES;
  const count = min(SLICE, rows - row);
  if (count < SLICE) memory.fill(lanes, 0, <usize>SLICE * TERMS_BYTES);
  for (let lane: i32 = 0; lane < count; lane++) {
    const to = lanes + <usize>lane * TERMS_BYTES;
    if (isRounded) unpackIntegers(w, row + lane, term, terms, to);
    else unpackRow(w, row + lane, term, terms, to, scratch + FACTORS);
  }
  turn(lanes, TERMS_BYTES, isRounded ? terms >> 1 : terms, scratch + SLICES);
  if (!isRounded) return;
  unpackFactors(w.scales, w, row, count, term, terms, scratch + SCALES, scratch + FACTORS);
  if (w.minima) unpackFactors(w.minima, w, row, count, term, terms, scratch + MINIMA, scratch + FACTORS);
}

function unpackFactors(
  from: usize,
  w: Weight,
  row: i32,
  count: i32,
  term: i32,
  terms: i32,
  to: usize,
  lanes: usize,
): void {
  memory.fill(lanes, 0, <usize>SLICE * BLOCKS_BYTES);
  for (let lane: i32 = 0; lane < count; lane++)
    factorsOf(from, w, row + lane, term, terms, lanes + <usize>lane * BLOCKS_BYTES);
  turn(lanes, BLOCKS_BYTES, terms / BLOCK, to);
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
 * c[6][8] += the products of six rounded rows, a[depth / 2][6] of pairs with scales and sums [blocks][6], and a slice of
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
    let x4 = x0;
    let y4 = x0;
    let x5 = x0;
    let y5 = x0;
    for (const past = b + BLOCK * SLICE * 2; b < past; b += 32, a += PANEL * 4) {
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
      s = v128.load32_splat(a, 16);
      x4 = i32x4.add(x4, i32x4.dot_i16x8_s(s, left));
      y4 = i32x4.add(y4, i32x4.dot_i16x8_s(s, right));
      s = v128.load32_splat(a, 20);
      x5 = i32x4.add(x5, i32x4.dot_i16x8_s(s, left));
      y5 = i32x4.add(y5, i32x4.dot_i16x8_s(s, right));
    }
    const left = v128.load(bScales);
    const right = v128.load(bScales, 16);
    addScaled(c, x0, y0, left, right, v128.load32_splat(aScales));
    addScaled(c + 32, x1, y1, left, right, v128.load32_splat(aScales, 4));
    addScaled(c + 64, x2, y2, left, right, v128.load32_splat(aScales, 8));
    addScaled(c + 96, x3, y3, left, right, v128.load32_splat(aScales, 12));
    addScaled(c + 128, x4, y4, left, right, v128.load32_splat(aScales, 16));
    addScaled(c + 160, x5, y5, left, right, v128.load32_splat(aScales, 20));
    if (bMinima) {
      const low = v128.load(bMinima);
      const high = v128.load(bMinima, 16);
      for (let row: usize = 0; row < <usize>PANEL; row++) {
        const sum = v128.load32_splat(aSums + 4 * row);
        const to = c + 32 * row;
        v128.store(to, f32x4.add(v128.load(to), f32x4.mul(low, sum)));
        v128.store(to, f32x4.add(v128.load(to, 16), f32x4.mul(high, sum)), 16);
      }
      bMinima += 32;
    }
    bScales += 32;
    aScales += PANEL * 4;
    aSums += PANEL * 4;
  }
}

/** Not fused, so that both builds give the same bits. */
@inline
function addScaled(to: usize, x: v128, y: v128, left: v128, right: v128, scale: v128): void {
  v128.store(to, f32x4.add(v128.load(to), f32x4.mul(f32x4.convert_i32x4_s(x), f32x4.mul(left, scale))));
  v128.store(to, f32x4.add(v128.load(to, 16), f32x4.mul(f32x4.convert_i32x4_s(y), f32x4.mul(right, scale))), 16);
}
