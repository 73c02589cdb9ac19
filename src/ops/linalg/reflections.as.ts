/**
 * Householder reflections I - v v^T, |v|^2 = 2, alone and in blocks: the product of some of them is I - V T V^T, T an upper
 * triangle with ones on its diagonal. Vectors are rows.
 */
import { dotWide } from '../../runtime/wasm/assembly/wide.as';
import { REFLECTIONS } from './params.generated.as';
import { addProductOf, BLOCK_ROWS, PRODUCT_BYTES } from './product.as';

const ALONG_BYTES: usize = <usize>(BLOCK_ROWS * REFLECTIONS * 8);
/** Working memory of `reflectRows`. */
export const REFLECT_BYTES: usize = PRODUCT_BYTES + 2 * ALONG_BYTES;
/** Bytes of a triangle. */
export const TRIANGLE_BYTES: usize = <usize>(REFLECTIONS * REFLECTIONS * 8);

/** Makes of x, from `first` on, v such that x - v (v . x) is along its first axis; 0 if x is 0. Returns what is there then. */
export function makeReflection(v: usize, first: i32, count: i32): f64 {
  const from = v + (<usize>first << 3);
  let largest: f64 = 0;
  for (let i = first; i < count; i++) largest = max(largest, abs(f64.load(v + (<usize>i << 3))));
  if (largest == 0) return 0;
  for (let i = first; i < count; i++) f64.store(v + (<usize>i << 3), f64.load(v + (<usize>i << 3)) / largest);
  const head = f64.load(from);
  const norm = Math.sqrt(dotWide(from, from, count - first));
  const shifted = head + (head < 0 ? -norm : norm);
  f64.store(from, shifted);
  // |v|^2 = 2 norm (norm + |head|)
  const factor = 1 / Math.sqrt(norm * abs(shifted));
  for (let i = first; i < count; i++) f64.store(v + (<usize>i << 3), f64.load(v + (<usize>i << 3)) * factor);
  return (head < 0 ? norm : -norm) * largest;
}

/** The triangle [REFLECTIONS][REFLECTIONS] of `count` reflections of `length` numbers, `step` bytes apart. */
export function makeTriangle(v: usize, step: usize, count: i32, length: i32, t: usize): void {
  for (let j: i32 = 0; j < count; j++) {
    const own = v + <usize>j * step;
    for (let i: i32 = 0; i < j; i++) {
      const along = dotWide(v + <usize>i * step, own, length);
      // Column j holds the products until it is that of the triangle.
      f64.store(placeOf(t, i, j), along);
    }
    for (let i: i32 = 0; i < j; i++) {
      let sum = f64.load(placeOf(t, i, j));
      for (let l = i + 1; l < j; l++) sum += f64.load(placeOf(t, i, l)) * f64.load(placeOf(t, l, j));
      f64.store(placeOf(t, i, j), -sum);
    }
    f64.store(placeOf(t, j, j), 1);
  }
}

@inline
function placeOf(t: usize, row: i32, column: i32): usize {
  return t + (<usize>(row * REFLECTIONS + column) << 3);
}

/**
 * Up to `BLOCK_ROWS` rows z, `zStep` bytes apart, become what the product of the reflections makes of them, which begins with
 * the last of these, or, where it is `reversed`, with the first.
 */
export function reflectRows(
  z: usize,
  zStep: usize,
  rows: i32,
  v: usize,
  vStep: usize,
  count: i32,
  length: i32,
  t: usize,
  reversed: bool,
  scratch: usize,
): void {
  const along = scratch + PRODUCT_BYTES;
  const turned = along + ALONG_BYTES;
  const step = <usize>(REFLECTIONS * 8);
  memory.fill(along, 0, <usize>rows * step);
  addProductOf(along, step, rows, count, z, zStep, 8, v, 8, vStep, length, 1, scratch);
  for (let r: i32 = 0; r < rows; r++) {
    const from = along + <usize>r * step;
    const to = turned + <usize>r * step;
    for (let j: i32 = 0; j < count; j++) {
      let sum: f64 = 0;
      if (reversed) for (let i: i32 = 0; i <= j; i++) sum += f64.load(from + (<usize>i << 3)) * f64.load(placeOf(t, i, j));
      else for (let i = j; i < count; i++) sum += f64.load(from + (<usize>i << 3)) * f64.load(placeOf(t, j, i));
      f64.store(to + (<usize>j << 3), sum);
    }
  }
  addProductOf(z, zStep, rows, length, turned, step, 8, v, vStep, 8, count, -1, scratch);
}
