/** Products of float64 matrices of any strides, by blocks that stay in the caches: what blocked decompositions are made of. */
import { addWideProduct } from './substitute.as';

/** Rows and columns of a block, multiples of those of the micro-kernel, and terms that are summed at a time. */
export const BLOCK_ROWS: i32 = 96;
const BLOCK_COLUMNS: i32 = 96;
const BLOCK_TERMS: i32 = 192;
const ROWS: i32 = 6;
const COLUMNS: i32 = 4;
const LEFT_BYTES: usize = <usize>(BLOCK_ROWS * BLOCK_TERMS * 8);
const RIGHT_BYTES: usize = <usize>(BLOCK_COLUMNS * BLOCK_TERMS * 8);
const EDGE_BYTES: usize = <usize>(ROWS * COLUMNS * 8);
export const PRODUCT_BYTES: usize = LEFT_BYTES + RIGHT_BYTES + EDGE_BYTES;

/**
 * c [rows][columns] += factor a [rows][terms] b [terms][columns], of up to `BLOCK_ROWS` rows. `down` and `across` are the bytes
 * between rows and between columns; columns of c are side by side.
 */
export function addProductOf(
  c: usize,
  cDown: usize,
  rows: i32,
  columns: i32,
  a: usize,
  aDown: usize,
  aAcross: usize,
  b: usize,
  bDown: usize,
  bAcross: usize,
  terms: i32,
  factor: f64,
  scratch: usize,
): void {
  const right = scratch + LEFT_BYTES;
  for (let first: i32 = 0; first < terms; first += BLOCK_TERMS) {
    const depth = min(BLOCK_TERMS, terms - first);
    packStrips(a + <usize>first * aAcross, aDown, aAcross, rows, ROWS, depth, factor, scratch);
    for (let column: i32 = 0; column < columns; column += BLOCK_COLUMNS) {
      const width = min(BLOCK_COLUMNS, columns - column);
      packStrips(b + <usize>first * bDown + <usize>column * bAcross, bAcross, bDown, width, COLUMNS, depth, 1, right);
      multiplyBlock(scratch, right, depth, c + (<usize>column << 3), cDown, rows, width, right + RIGHT_BYTES);
    }
  }
}

/** Strips [depth][width] of numbers times a factor, with zeros past the last; `down` goes from one of a strip to the next. */
@inline
function packStrips(
  from: usize,
  down: usize,
  across: usize,
  count: i32,
  width: i32,
  depth: i32,
  factor: f64,
  to: usize,
): void {
  const step = <usize>width << 3;
  for (let first: i32 = 0; first < count; first += width, to += <usize>depth * step) {
    for (let r: i32 = 0; r < width; r++) {
      const isThere = first + r < count;
      let source = from + <usize>(first + r) * down;
      let at = to + (<usize>r << 3);
      for (let k: i32 = 0; k < depth; k++, source += across, at += step) f64.store(at, isThere ? factor * f64.load(source) : 0);
    }
  }
}

function multiplyBlock(
  left: usize,
  right: usize,
  depth: i32,
  c: usize,
  cDown: usize,
  rows: i32,
  columns: i32,
  edge: usize,
): void {
  const leftStep = <usize>(depth * ROWS) << 3;
  const rightStep = <usize>(depth * COLUMNS) << 3;
  for (let column: i32 = 0, b = right; column < columns; column += COLUMNS, b += rightStep) {
    for (let row: i32 = 0, a = left; row < rows; row += ROWS, a += leftStep) {
      const to = c + <usize>row * cDown + (<usize>column << 3);
      if (row + ROWS <= rows && column + COLUMNS <= columns) {
        addWideProduct(a, b, depth, to, cDown);
        continue;
      }
      memory.fill(edge, 0, EDGE_BYTES);
      addWideProduct(a, b, depth, edge, <usize>(COLUMNS << 3));
      for (let r: i32 = 0; r < min(ROWS, rows - row); r++) {
        for (let k: i32 = 0; k < min(COLUMNS, columns - column); k++) {
          const place = to + <usize>r * cDown + (<usize>k << 3);
          f64.store(place, f64.load(place) + f64.load(edge + (<usize>(r * COLUMNS + k) << 3)));
        }
      }
    }
  }
}
