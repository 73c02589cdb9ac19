/**
 * Forward substitution, of which both the factor of Cholesky and triangular solves are made. What is solved for lies in
 * slices: 32 bytes, eight f32 or four f64 systems side by side, for each unknown. The triangle lies in panels of six rows,
 * [terms][6], with its elements negative and the reciprocals of its diagonal.
 */
import { PANEL } from '../../runtime/cpu/params.generated.as';
import { ADD, product } from '../../runtime/wasm/assembly/product.as';
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { maddWide } from '../../runtime/wasm/assembly/wide.as';
import { TERMS } from './params.generated.as';

/** Bytes of the systems of a slice. */
export const SLICE_BYTES: usize = 32;

/** Systems of a slice. */
@inline
export function lanesOf<T>(): i32 {
  return <i32>(SLICE_BYTES / sizeof<T>());
}

/** Bytes of a term of a panel. */
@inline
export function termBytes<T>(): usize {
  return <usize>PANEL * sizeof<T>();
}

@inline
export function strips(count: i32, width: i32): i32 {
  return (count + width - 1) / width;
}

/** `slice` unknowns from `row` on += those from `first` to `past` times the panels of these rows, `step` bytes apart. */
@inline
export function eliminate<T>(panels: usize, step: usize, count: i32, slice: usize, row: i32, first: i32, past: i32): void {
  const depth = past - first;
  let panel = panels + <usize>first * termBytes<T>();
  let to = slice + <usize>row * SLICE_BYTES;
  const from = slice + <usize>first * SLICE_BYTES;
  for (let at: i32 = 0; at < count; at++, panel += step, to += <usize>PANEL * SLICE_BYTES) addProduct<T>(panel, from, depth, to);
}

/** As `eliminate`, of several slices, by blocks of terms that stay in the caches. */
export function eliminateAll<T>(
  panels: usize,
  step: usize,
  count: i32,
  slices: usize,
  sliceStep: usize,
  sliceCount: i32,
  row: i32,
  past: i32,
): void {
  for (let first: i32 = 0; first < past; first += TERMS)
    for (let s: i32 = 0, slice = slices; s < sliceCount; s++, slice += sliceStep)
      eliminate<T>(panels, step, count, slice, row, first, min(first + TERMS, past));
}

/** Solves for the unknowns of `count` panels from `row` on, once the earlier ones are eliminated. */
export function substitute<T>(panels: usize, step: usize, count: i32, slice: usize, row: i32): void {
  for (let at: i32 = 0, panel = panels; at < count; at++, panel += step) {
    const own = row + at * PANEL;
    if (at > 0) eliminate<T>(panel, step, 1, slice, own, row, own);
    solveSix<T>(panel + <usize>own * termBytes<T>(), slice + <usize>own * SLICE_BYTES);
  }
}

/** The unknowns of one panel from its diagonal block [6][6]. */
@inline
function solveSix<T>(diagonal: usize, slice: usize): void {
  for (let r: usize = 0; r < <usize>PANEL; r++) {
    const to = slice + r * SLICE_BYTES;
    let left = v128.load(to);
    let right = v128.load(to, 16);
    for (let s: usize = 0; s < r; s++) {
      const factor = splat<T>(diagonal + s * termBytes<T>() + r * sizeof<T>());
      left = multiplyAdd<T>(factor, v128.load(slice + s * SLICE_BYTES), left);
      right = multiplyAdd<T>(factor, v128.load(slice + s * SLICE_BYTES, 16), right);
    }
    const reciprocal = splat<T>(diagonal + r * termBytes<T>() + r * sizeof<T>());
    v128.store(to, times<T>(reciprocal, left));
    v128.store(to, times<T>(reciprocal, right), 16);
  }
}

@inline
function splat<T>(place: usize): v128 {
  return sizeof<T>() == 4 ? v128.load32_splat(place) : v128.load64_splat(place);
}

@inline
function times<T>(a: v128, b: v128): v128 {
  return sizeof<T>() == 4 ? f32x4.mul(a, b) : f64x2.mul(a, b);
}

@inline
function multiplyAdd<T>(a: v128, b: v128, c: v128): v128 {
  return sizeof<T>() == 4 ? madd(a, b, c) : maddWide(a, b, c);
}

/** c [6][32 bytes] += a [depth][6] times b [depth][32 bytes]. */
function addProduct<T>(a: usize, b: usize, depth: i32, c: usize): void {
  if (sizeof<T>() == 4) product(a, PANEL * 4, false, b, depth, c, SLICE_BYTES, ADD, 0);
  else addWideProduct(a, b, depth, c, SLICE_BYTES);
}

/** The same of float64: c [6][4], rows `step` bytes apart, += a [depth][6] times b [depth][4]. */
export function addWideProduct(a: usize, b: usize, depth: i32, c: usize, step: usize): void {
  const c1 = c + step;
  const c2 = c1 + step;
  const c3 = c2 + step;
  const c4 = c3 + step;
  const c5 = c4 + step;
  let x0 = v128.load(c);
  let y0 = v128.load(c, 16);
  let x1 = v128.load(c1);
  let y1 = v128.load(c1, 16);
  let x2 = v128.load(c2);
  let y2 = v128.load(c2, 16);
  let x3 = v128.load(c3);
  let y3 = v128.load(c3, 16);
  let x4 = v128.load(c4);
  let y4 = v128.load(c4, 16);
  let x5 = v128.load(c5);
  let y5 = v128.load(c5, 16);
  for (const end = b + <usize>depth * SLICE_BYTES; b != end; b += SLICE_BYTES, a += 48) {
    const left = v128.load(b);
    const right = v128.load(b, 16);
    let s = v128.load64_splat(a);
    x0 = maddWide(s, left, x0);
    y0 = maddWide(s, right, y0);
    s = v128.load64_splat(a, 8);
    x1 = maddWide(s, left, x1);
    y1 = maddWide(s, right, y1);
    s = v128.load64_splat(a, 16);
    x2 = maddWide(s, left, x2);
    y2 = maddWide(s, right, y2);
    s = v128.load64_splat(a, 24);
    x3 = maddWide(s, left, x3);
    y3 = maddWide(s, right, y3);
    s = v128.load64_splat(a, 32);
    x4 = maddWide(s, left, x4);
    y4 = maddWide(s, right, y4);
    s = v128.load64_splat(a, 40);
    x5 = maddWide(s, left, x5);
    y5 = maddWide(s, right, y5);
  }
  v128.store(c, x0);
  v128.store(c, y0, 16);
  v128.store(c1, x1);
  v128.store(c1, y1, 16);
  v128.store(c2, x2);
  v128.store(c2, y2, 16);
  v128.store(c3, x3);
  v128.store(c3, y3, 16);
  v128.store(c4, x4);
  v128.store(c4, y4, 16);
  v128.store(c5, x5);
  v128.store(c5, y5, 16);
}
