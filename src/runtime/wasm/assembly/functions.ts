/** Functions of float32 vectors, accurate to two units in the last place, for any argument. */
import { initialise as initialiseVector, madd } from './vector';

/** Where the constants lie, after those of vector.ts and for the same reason. */
const CONSTANTS: usize = 1280;

// @ts-ignore: decorator
@inline
function constant(place: usize): v128 {
  return v128.load(CONSTANTS + (place << 4));
}

const ONE: usize = 0;
const LOG2E: usize = 1;
/** ln 2 in two parts, the first exact in 11 bits. */
const LN2_HIGH: usize = 2;
const LN2_LOW: usize = 3;
const EXP: usize = 4;
const LOG: usize = 10;
const TANH: usize = 19;

/** Writes all constants; called once for each memory, before any kernel. */
export function initialise(): void {
  initialiseVector();
  put(ONE, 1);
  put(LOG2E, 1.4426950408889634);
  put(LN2_HIGH, 0.693359375);
  put(LN2_LOW, -2.1219444e-4);
  // e^r = 1 + r + r^2 (...) on [-ln 2 / 2, ln 2 / 2].
  put(EXP, 1.98756915e-4);
  put(EXP + 1, 1.3981999507e-3);
  put(EXP + 2, 8.3334519073e-3);
  put(EXP + 3, 4.1665795894e-2);
  put(EXP + 4, 1.6666665459e-1);
  put(EXP + 5, 5.0000001201e-1);
  // log(1 + m) = m - m^2 / 2 + m^3 (...) for 1 + m from the root of a half to that of 2.
  put(LOG, 7.0376836292e-2);
  put(LOG + 1, -1.151461031e-1);
  put(LOG + 2, 1.167699874e-1);
  put(LOG + 3, -1.2420140846e-1);
  put(LOG + 4, 1.4249322787e-1);
  put(LOG + 5, -1.6668057665e-1);
  put(LOG + 6, 2.0000714765e-1);
  put(LOG + 7, -2.4999993993e-1);
  put(LOG + 8, 3.3333331174e-1);
  // tanh x = x + x^3 (...) for |x| below 0.625; beyond 20 it is 1.
  put(TANH, -5.70498872745e-3);
  put(TANH + 1, 2.06390887954e-2);
  put(TANH + 2, -5.37397155531e-2);
  put(TANH + 3, 1.33314422036e-1);
  put(TANH + 4, -3.33332819422e-1);
  put(TANH + 5, 0.625);
  put(TANH + 6, 20);
  put(TANH + 7, 2);
  put(TANH + 8, -0.0);
}

function put(place: usize, value: f32): void {
  v128.store(CONSTANTS + (place << 4), f32x4.splat(value));
}

/** e^r of what is left of x after n ln 2. */
// @ts-ignore: decorator
@inline
function expOfRest(x: v128, n: v128): v128 {
  const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, constant(LN2_HIGH))), f32x4.mul(n, constant(LN2_LOW)));
  let y = madd(constant(EXP), r, constant(EXP + 1));
  y = madd(y, r, constant(EXP + 2));
  y = madd(y, r, constant(EXP + 3));
  y = madd(y, r, constant(EXP + 4));
  y = madd(y, r, constant(EXP + 5));
  return f32x4.add(madd(y, f32x4.mul(r, r), r), constant(ONE));
}

/** e^x; infinity above the range, 0 and denormals below. */
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  // Past these every result is infinite or 0; min and max propagate NaN.
  const bounded = f32x4.max(f32x4.min(x, f32x4.splat(89)), f32x4.splat(-104));
  const n = f32x4.nearest(f32x4.mul(bounded, constant(LOG2E)));
  const y = expOfRest(bounded, n);
  // Two steps: 2^n alone may be outside the range where the result is not. NaN lanes have any n and stay NaN.
  const whole = i32x4.trunc_sat_f32x4_s(n);
  const half = i32x4.shr_s(whole, 1);
  return f32x4.mul(f32x4.mul(y, powerOfTwo(half)), powerOfTwo(i32x4.sub(whole, half)));
}

// @ts-ignore: decorator
@inline
function powerOfTwo(n: v128): v128 {
  return i32x4.shl(i32x4.add(n, i32x4.splat(127)), 23);
}

/** Natural logarithm: -infinity of 0, NaN below. */
// @ts-ignore: decorator
@inline
export function log(x: v128): v128 {
  const tiny = f32x4.lt(x, f32x4.splat(1.17549435e-38));
  const scaled = v128.bitselect(f32x4.mul(x, f32x4.splat(8388608)), x, tiny);
  let exponent = i32x4.sub(i32x4.shr_u(scaled, 23), i32x4.splat(126));
  exponent = i32x4.sub(exponent, v128.and(tiny, i32x4.splat(23)));
  // The mantissa in [0.5, 1), doubled where it is below the root of a half.
  let m = v128.or(v128.and(scaled, i32x4.splat(0x007fffff)), f32x4.splat(0.5));
  const low = f32x4.lt(m, f32x4.splat(0.7071067811865475));
  exponent = i32x4.add(exponent, low);
  m = f32x4.sub(f32x4.add(m, v128.and(m, low)), constant(ONE));
  const e = f32x4.convert_i32x4_s(exponent);
  const square = f32x4.mul(m, m);
  let y = madd(constant(LOG), m, constant(LOG + 1));
  y = madd(y, m, constant(LOG + 2));
  y = madd(y, m, constant(LOG + 3));
  y = madd(y, m, constant(LOG + 4));
  y = madd(y, m, constant(LOG + 5));
  y = madd(y, m, constant(LOG + 6));
  y = madd(y, m, constant(LOG + 7));
  y = madd(y, m, constant(LOG + 8));
  y = f32x4.mul(f32x4.mul(y, m), square);
  y = madd(e, constant(LN2_LOW), y);
  y = madd(square, f32x4.splat(-0.5), y);
  y = madd(e, constant(LN2_HIGH), f32x4.add(m, y));
  const zero = f32x4.splat(0);
  y = v128.bitselect(f32x4.splat(-Infinity), y, f32x4.eq(x, zero));
  y = v128.bitselect(x, y, f32x4.eq(x, f32x4.splat(Infinity)));
  return v128.bitselect(y, f32x4.splat(NaN), f32x4.ge(x, zero));
}

/** 1 - 2 / (e^2|x| + 1), and a polynomial near 0, where that loses digits. */
// @ts-ignore: decorator
@inline
export function tanh(x: v128): v128 {
  const sign = v128.and(x, constant(TANH + 8));
  const size = v128.xor(x, sign);
  const two = constant(TANH + 7);
  const twice = f32x4.mul(f32x4.min(size, constant(TANH + 6)), two);
  const n = f32x4.nearest(f32x4.mul(twice, constant(LOG2E)));
  const y = i32x4.add(expOfRest(twice, n), i32x4.shl(i32x4.trunc_sat_f32x4_s(n), 23));
  const far = f32x4.sub(constant(ONE), f32x4.div(two, f32x4.add(y, constant(ONE))));
  const square = f32x4.mul(x, x);
  let near = madd(constant(TANH), square, constant(TANH + 1));
  near = madd(near, square, constant(TANH + 2));
  near = madd(near, square, constant(TANH + 3));
  near = madd(near, square, constant(TANH + 4));
  near = madd(f32x4.mul(near, square), x, x);
  return v128.bitselect(near, v128.or(far, sign), f32x4.lt(size, constant(TANH + 5)));
}
