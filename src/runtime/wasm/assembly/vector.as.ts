/**
 * Vector arithmetic of both builds.
 * V8 rebuilds a v128 literal at each use, so inner loops load their constants from memory. Each module writes them as it starts,
 * in each thread: the same values at the same places, so that concurrent readers do not notice.
 */

/** The address of the constants, in the page that the host keeps free. */
const CONSTANTS: usize = 1024;

export const MAGIC: usize = CONSTANTS;
export const C1: usize = CONSTANTS + 16;
export const C2: usize = CONSTANTS + 32;
export const C3: usize = CONSTANTS + 48;
export const C4: usize = CONSTANTS + 64;
export const C5: usize = CONSTANTS + 80;
export const ONE: usize = CONSTANTS + 96;
export const LOWEST: usize = CONSTANTS + 112;
const LANE_BITS: usize = CONSTANTS + 128;
export const LOG2E: usize = CONSTANTS + 144;

// 1.5 * 2^23: adding it rounds to an integer, in the low bits.
v128.store(MAGIC, f32x4.splat(12582912));
// 2^f = 1 + f (C1 + f (C2 + ...)) on [-0.5, 0.5], largest relative error 9.2e-8.
v128.store(C1, f32x4.splat(0.69314697759896604));
v128.store(C2, f32x4.splat(0.24022242085267442));
v128.store(C3, f32x4.splat(0.055507337435431292));
v128.store(C4, f32x4.splat(0.0096715126445695958));
v128.store(C5, f32x4.splat(0.0013264727108193619));
v128.store(ONE, f32x4.splat(1));
v128.store(LOWEST, f32x4.splat(-100));
v128.store(LANE_BITS, i32x4(1, 2, 4, 8));
v128.store(LOG2E, f32x4.splat(1.4426950408889634));

/** a * b + c, fused if the build can. */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** The larger of each lane; either one if a lane is NaN. */
@inline
export function larger(a: v128, b: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_max(a, b);
  return f32x4.pmax(a, b);
}

/** 2^x for |x| <= 126. */
@inline
export function exp2(x: v128): v128 {
  const rounded = f32x4.add(x, v128.load(MAGIC));
  const f = f32x4.sub(x, f32x4.sub(rounded, v128.load(MAGIC)));
  let y = madd(v128.load(C5), f, v128.load(C4));
  y = madd(y, f, v128.load(C3));
  y = madd(y, f, v128.load(C2));
  y = madd(y, f, v128.load(C1));
  y = madd(y, f, v128.load(ONE));
  return i32x4.add(y, i32x4.shl(rounded, 23));
}

/** 2^x for x <= 126; 0 below -100, since sums of denormals cost a hundred times as much as others. */
@inline
export function exp2Clamped(x: v128): v128 {
  return v128.and(exp2(x), f32x4.gt(x, v128.load(LOWEST)));
}

/** All ones in lane r where bit r is set. */
@inline
export function seenLanes(bits: i32): v128 {
  const lanes = v128.load(LANE_BITS);
  return i32x4.eq(v128.and(i32x4.splat(bits), lanes), lanes);
}

/** The largest of four lanes; NaN if one is NaN. */
@inline
export function largestLane(x: v128): f32 {
  return max(
    max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
    max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
  );
}

@inline
export function sumOfLanes(x: v128): f32 {
  return (
    f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 1) + (f32x4.extract_lane(x, 2) + f32x4.extract_lane(x, 3))
  );
}

/** The sum of each vector's lanes. */
@inline
export function fourSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(v128.shuffle<f32>(a, b, 0, 4, 1, 5), v128.shuffle<f32>(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(v128.shuffle<f32>(c, d, 0, 4, 1, 5), v128.shuffle<f32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<f32>(ab, cd, 0, 1, 4, 5), v128.shuffle<f32>(ab, cd, 2, 3, 6, 7));
}

/** Rows r0..r3 of four floats, stored as columns `step` bytes apart. */
@inline
export function storeTransposed(r0: v128, r1: v128, r2: v128, r3: v128, to: usize, step: usize): void {
  const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
  const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
  v128.store(to + step, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7));
  v128.store(to + 2 * step, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5));
  v128.store(to + 3 * step, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7));
}

/** Four elements, or one and zeros. */
@inline
export function get(place: usize, whole: bool): v128 {
  return whole ? v128.load(place) : v128.load32_zero(place);
}

/** Writes four elements, or the first. */
@inline
export function put(place: usize, x: v128, whole: bool): void {
  if (whole) v128.store(place, x);
  else v128.store32_lane(place, x, 0);
}

/** Sum of the products of two rows. */
export function dot(a: usize, b: usize, bytes: usize): f32 {
  let sums = f32x4.splat(0);
  let at: usize = 0;
  if (bytes >= 64) {
    // Four sums, so that none waits for the previous one.
    let second = sums;
    let third = sums;
    let fourth = sums;
    for (; at + 64 <= bytes; at += 64) {
      sums = madd(v128.load(a + at), v128.load(b + at), sums);
      second = madd(v128.load(a + at, 16), v128.load(b + at, 16), second);
      third = madd(v128.load(a + at, 32), v128.load(b + at, 32), third);
      fourth = madd(v128.load(a + at, 48), v128.load(b + at, 48), fourth);
    }
    sums = f32x4.add(f32x4.add(sums, second), f32x4.add(third, fourth));
  }
  for (; at + 16 <= bytes; at += 16) sums = madd(v128.load(a + at), v128.load(b + at), sums);
  let sum = sumOfLanes(sums);
  for (; at < bytes; at += 4) sum += f32.load(a + at) * f32.load(b + at);
  return sum;
}
