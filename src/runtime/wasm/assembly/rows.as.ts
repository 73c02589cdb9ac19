/** Sums, maxima and exponentials of rows. */
import {
  C1,
  C2,
  C3,
  C4,
  C5,
  exp2Clamped,
  get,
  LOG2E,
  LOWEST,
  larger,
  largestLane,
  MAGIC,
  madd,
  ONE,
  put,
  sumOfLanes,
} from './vector.as';

/** The largest element; NaN if the row's softmax is: it has a NaN, or infinities of both signs. */
export function largest(x: usize, bytes: usize): f32 {
  let first = f32x4.splat(-Infinity);
  let second = first;
  // The machine's maximum may drop NaN; the sum of two does not.
  let odd = f32x4.splat(0);
  let at: usize = 0;
  for (; at + 32 <= bytes; at += 32) {
    const a = v128.load(x + at);
    const b = v128.load(x + at, 16);
    const sum = f32x4.add(a, b);
    first = larger(first, a);
    second = larger(second, b);
    odd = v128.or(odd, f32x4.ne(sum, sum));
  }
  first = larger(first, second);
  for (; at < bytes; at += 4) {
    const a = v128.load32_splat(x + at);
    first = larger(first, a);
    odd = v128.or(odd, f32x4.ne(a, a));
  }
  return v128.any_true(odd) ? NaN : largestLane(first);
}

export function sumOf(x: usize, bytes: usize): f32 {
  let sums = f32x4.splat(0);
  let at: usize = 0;
  if (bytes >= 64) {
    // Four sums, so that none waits for the previous one.
    let second = sums;
    let third = sums;
    let fourth = sums;
    for (; at + 64 <= bytes; at += 64) {
      sums = f32x4.add(sums, v128.load(x + at));
      second = f32x4.add(second, v128.load(x + at, 16));
      third = f32x4.add(third, v128.load(x + at, 32));
      fourth = f32x4.add(fourth, v128.load(x + at, 48));
    }
    sums = f32x4.add(f32x4.add(sums, second), f32x4.add(third, fourth));
  }
  for (; at + 16 <= bytes; at += 16) sums = f32x4.add(sums, v128.load(x + at));
  for (; at < bytes; at += 4) sums = f32x4.add(sums, get(x + at, false));
  return sumOfLanes(sums);
}

/** e^(x - shift) for x <= shift, 0 below 2^-100. */
@inline
export function weight(x: v128, shift: v128): v128 {
  return exp2Clamped(f32x4.mul(f32x4.sub(x, shift), v128.load(LOG2E)));
}

/** Writes the weights of a row and returns their sum; no x may exceed `shift`. */
export function weights(x: usize, bytes: usize, shift: f32, out: usize): f32 {
  return sumOfWeights(x, bytes, shift, out, true);
}

/** The sum alone. */
export function weightSum(x: usize, bytes: usize, shift: f32): f32 {
  return sumOfWeights(x, bytes, shift, 0, false);
}

@inline
function sumOfWeights(x: usize, bytes: usize, shift: f32, out: usize, kept: bool): f32 {
  // Like `weight`, but constants are loaded once: after a store they would be loaded again.
  const log2e = v128.load(LOG2E);
  const magic = v128.load(MAGIC);
  const c1 = v128.load(C1);
  const c2 = v128.load(C2);
  const c3 = v128.load(C3);
  const c4 = v128.load(C4);
  const c5 = v128.load(C5);
  const one = v128.load(ONE);
  const lowest = f32x4.add(magic, v128.load(LOWEST));
  const shift4 = f32x4.splat(shift);
  let sums = f32x4.splat(0);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) {
    const distance = f32x4.sub(v128.load(x + at), shift4);
    const rounded = madd(distance, log2e, magic);
    const f = madd(distance, log2e, f32x4.sub(magic, rounded));
    let y = madd(c5, f, c4);
    y = madd(y, f, c3);
    y = madd(y, f, c2);
    y = madd(y, f, c1);
    y = madd(y, f, one);
    y = v128.and(i32x4.add(y, i32x4.shl(rounded, 23)), f32x4.gt(rounded, lowest));
    if (kept) v128.store(out + at, y);
    sums = f32x4.add(sums, y);
  }
  let sum = sumOfLanes(sums);
  for (; at < bytes; at += 4) {
    const y = weight(get(x + at, false), shift4);
    if (kept) put(out + at, y, false);
    sum += f32x4.extract_lane(y, 0);
  }
  return sum;
}
