/** Rows of x as products read them: as floats, or rounded to 8 bits in blocks of 32, row by row or in panels. */
import { bytesOf, loadRow } from '../../runtime/wasm/assembly/storage.as';
import { PANEL } from '../../runtime/cpu/params.generated.as';
import { BLOCK, LONG_TERMS, ProductsParams, ROUNDED_PANEL } from './params.generated.as';

/** Blocks whose largest magnitude is below it count as zeros: the inverse of their scale would be infinite. */
const LEAST: f32 = 1e-30;

/** A row of x, or past the last one zeros. */
export function prepareRow(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ProductsParams>(params);
  const size = bytesOf(p.x.dtype);
  for (let term: i32 = 0; term < p.depth; term += LONG_TERMS) {
    const terms = min(LONG_TERMS, p.depth - term);
    let row = scratch;
    if (task < p.rows) {
      const from = p.x.address + <usize>(task * p.depth + term) * size;
      row = loadRow(from, 1, p.x.dtype, terms, scratch);
    } else memory.fill(row, 0, <usize>terms << 2);
    if (p.isRounded) roundRow(p, task, term, terms, row);
    else if (p.isPaneled) spread(row, terms, p.left + panelOf(task, PANEL, p.depth, term), PANEL * 4);
    else memory.copy(p.left + (<usize>(task * p.depth + term) << 2), row, <usize>terms << 2);
  }
}

/** Where a lane of a panel [depth][rows] of words begins, in bytes, from a term on. */
@inline
function panelOf(row: i32, rows: i32, depth: i32, term: i32): usize {
  return ((<usize>(row / rows) * <usize>depth + <usize>term) * <usize>rows + <usize>(row % rows)) << 2;
}

function spread(from: usize, words: i32, to: usize, step: usize): void {
  for (const past = from + (<usize>words << 2); from < past; from += 4, to += step) i32.store(to, i32.load(from));
}

function roundRow(p: ProductsParams, row: i32, term: i32, terms: i32, from: usize): void {
  const all = p.depth / BLOCK;
  const first = term / BLOCK;
  const isPaneled = p.isPaneled;
  let to = p.left;
  let at: usize = 0;
  let step: usize = 4;
  if (isPaneled) {
    to += panelOf(row, ROUNDED_PANEL, p.depth >> 1, term >> 1);
    at = panelOf(row, ROUNDED_PANEL, all, first);
    step = ROUNDED_PANEL * 4;
  } else {
    to += <usize>(row * p.depth + term);
    at = <usize>(row * all + first) << 2;
  }
  for (let block: i32 = 0; block < terms / BLOCK; block++, from += BLOCK * 4, at += step) {
    const largest = magnitudeOf(from);
    const isNothing = largest < LEAST;
    const inverse = f32x4.splat(isNothing ? 0 : <f32>127 / largest);
    let sum = i32x4.splat(0);
    for (let i: usize = 0; i < 4; i++) {
      const codes = i16x8.narrow_i32x4_s(rounded(from + 32 * i, inverse), rounded(from + 32 * i + 16, inverse));
      sum = i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(codes));
      if (isPaneled) {
        v128.store32_lane(to, codes, 0);
        v128.store32_lane(to + step, codes, 1);
        v128.store32_lane(to + 2 * step, codes, 2);
        v128.store32_lane(to + 3 * step, codes, 3);
        to += 4 * step;
      } else {
        v128.store64_lane(to, i8x16.narrow_i16x8_s(codes, codes), 0);
        to += 8;
      }
    }
    const scale: f32 = isNothing ? 0 : largest / 127;
    f32.store(p.scales + at, scale);
    const pairs = i32x4.add(sum, i32x4.shuffle(sum, sum, 2, 3, 0, 1));
    const total = i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
    f32.store(p.sums + at, scale * <f32>total);
  }
}

@inline
function rounded(from: usize, inverse: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(from), inverse)));
}

/** The largest magnitude of a block; NaN if one is NaN. */
function magnitudeOf(from: usize): f32 {
  let most = f32x4.abs(v128.load(from));
  for (let i: usize = 16; i < <usize>(BLOCK * 4); i += 16) most = f32x4.max(most, f32x4.abs(v128.load(from + i)));
  return max(
    max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
}
