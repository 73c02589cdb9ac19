/** Functions of float32 vectors, accurate to two units in the last place, for any argument. */
import { madd } from './vector.as';

/** Where the constants lie, after those of vector.as.ts and for the same reason: the params follow. */
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
const SIN: usize = 28;
const COS: usize = 31;
const TAIL: usize = 34;

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
// sin r = r + r^3 (...) and cos r = 1 - r^2 / 2 + r^4 (...) on [-pi / 4, pi / 4].
put(SIN, -1.9515295891e-4);
put(SIN + 1, 8.3321608736e-3);
put(SIN + 2, -1.6666654611e-1);
put(COS, 2.443315711809948e-5);
put(COS + 1, -1.388731625493765e-3);
put(COS + 2, 4.166664568298827e-2);
put(TAIL, 0.17087277);
put(TAIL + 1, -0.82215223);
put(TAIL + 2, 1.48851587);
put(TAIL + 3, -1.13520398);
put(TAIL + 4, 0.27886807);
put(TAIL + 5, -0.18628806);
put(TAIL + 6, 0.09678418);
put(TAIL + 7, 0.37409196);
put(TAIL + 8, 1.00002368);
put(TAIL + 9, -1.26551223);

function put(place: usize, value: f32): void {
  v128.store(CONSTANTS + (place << 4), f32x4.splat(value));
}

/** e^r - 1 of what is left of x after n ln 2. */
// @ts-ignore: decorator
@inline
function growthOfRest(x: v128, n: v128): v128 {
  const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, constant(LN2_HIGH))), f32x4.mul(n, constant(LN2_LOW)));
  let y = madd(constant(EXP), r, constant(EXP + 1));
  y = madd(y, r, constant(EXP + 2));
  y = madd(y, r, constant(EXP + 3));
  y = madd(y, r, constant(EXP + 4));
  y = madd(y, r, constant(EXP + 5));
  return madd(y, f32x4.mul(r, r), r);
}

// @ts-ignore: decorator
@inline
function expOfRest(x: v128, n: v128): v128 {
  return f32x4.add(growthOfRest(x, n), constant(ONE));
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

/** e^x - 1, whose digits near 0 the difference would lose. */
// @ts-ignore: decorator
@inline
export function expMinusOne(x: v128): v128 {
  const near = growthOfRest(x, f32x4.splat(0));
  const far = f32x4.sub(exp(x), constant(ONE));
  return v128.bitselect(near, far, f32x4.lt(f32x4.abs(x), f32x4.splat(0.34)));
}

// @ts-ignore: decorator
@inline
function powerOfTwo(n: v128): v128 {
  return i32x4.shl(i32x4.add(n, i32x4.splat(127)), 23);
}

/** What log(1 + m) has beyond m - m^2 / 2. */
// @ts-ignore: decorator
@inline
function logTail(m: v128, square: v128): v128 {
  let y = madd(constant(LOG), m, constant(LOG + 1));
  y = madd(y, m, constant(LOG + 2));
  y = madd(y, m, constant(LOG + 3));
  y = madd(y, m, constant(LOG + 4));
  y = madd(y, m, constant(LOG + 5));
  y = madd(y, m, constant(LOG + 6));
  y = madd(y, m, constant(LOG + 7));
  y = madd(y, m, constant(LOG + 8));
  return f32x4.mul(f32x4.mul(y, m), square);
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
  let y = madd(e, constant(LN2_LOW), logTail(m, square));
  y = madd(square, f32x4.splat(-0.5), y);
  y = madd(e, constant(LN2_HIGH), f32x4.add(m, y));
  const zero = f32x4.splat(0);
  y = v128.bitselect(f32x4.splat(-Infinity), y, f32x4.eq(x, zero));
  y = v128.bitselect(x, y, f32x4.eq(x, f32x4.splat(Infinity)));
  return v128.bitselect(y, f32x4.splat(NaN), f32x4.ge(x, zero));
}

/** log(1 + x), whose digits near 0 the sum would lose; 3 units. */
// @ts-ignore: decorator
@inline
export function logOnePlus(x: v128): v128 {
  const square = f32x4.mul(x, x);
  const near = f32x4.add(x, madd(square, f32x4.splat(-0.5), logTail(x, square)));
  const far = log(f32x4.add(x, constant(ONE)));
  const isNear = v128.and(f32x4.gt(x, f32x4.splat(-0.29)), f32x4.lt(x, f32x4.splat(0.41)));
  return v128.bitselect(near, far, isNear);
}

/** log(1 + e^x); 4 units. */
// @ts-ignore: decorator
@inline
export function softplus(x: v128): v128 {
  const rest = logOnePlus(exp(f32x4.neg(f32x4.abs(x))));
  return f32x4.add(f32x4.max(x, f32x4.splat(0)), rest);
}

/** 1 / (1 + e^-x), by e^-|x|: that of -x would be infinite before the result is 0. */
// @ts-ignore: decorator
@inline
export function sigmoid(x: v128): v128 {
  const t = exp(f32x4.neg(f32x4.abs(x)));
  const isBelow = f32x4.lt(x, f32x4.splat(0));
  return f32x4.div(v128.bitselect(t, constant(ONE), isBelow), f32x4.add(constant(ONE), t));
}

/** The derivative of sigmoid: the same on both sides of 0, without the difference 1 - y. */
// @ts-ignore: decorator
@inline
export function sigmoidSlope(x: v128): v128 {
  const t = exp(f32x4.neg(f32x4.abs(x)));
  const whole = f32x4.add(constant(ONE), t);
  return f32x4.div(t, f32x4.mul(whole, whole));
}

/** Half of erfc(z), for z >= 0, by a fit of log(erfc) with a relative error below 1.2e-7 (Press et al., Numerical Recipes, section 6.2). */
// @ts-ignore: decorator
@inline
function normalTail(z: v128): v128 {
  const t = f32x4.div(constant(ONE), madd(z, f32x4.splat(0.5), constant(ONE)));
  let y = madd(constant(TAIL), t, constant(TAIL + 1));
  for (let at: usize = 2; at < 10; at++) y = madd(y, t, constant(TAIL + at));
  return f32x4.mul(f32x4.mul(t, f32x4.splat(0.5)), exp(f32x4.sub(y, f32x4.mul(z, z))));
}

/** The share of a standard normal distribution below x. */
// @ts-ignore: decorator
@inline
export function normalShare(x: v128): v128 {
  const tail = normalTail(f32x4.mul(f32x4.abs(x), f32x4.splat(0.7071067811865476)));
  return v128.bitselect(f32x4.sub(constant(ONE), tail), tail, f32x4.ge(x, f32x4.splat(0)));
}

/** The error function: its series near 0; 4 units. */
// @ts-ignore: decorator
@inline
export function erf(x: v128): v128 {
  const sign = v128.and(x, constant(TANH + 8));
  const size = v128.xor(x, sign);
  const square = f32x4.mul(x, x);
  // 2 / root pi times (-1)^i / (i! (2 i + 1)), from i = 9 down.
  let near = madd(f32x4.splat(-1.6365844691e-7), square, f32x4.splat(1.6462114365e-6));
  near = madd(near, square, f32x4.splat(-1.4925650358e-5));
  near = madd(near, square, f32x4.splat(1.2055332982e-4));
  near = madd(near, square, f32x4.splat(-8.5483270234e-4));
  near = madd(near, square, f32x4.splat(5.2239776254e-3));
  near = madd(near, square, f32x4.splat(-2.6866170645e-2));
  near = madd(near, square, f32x4.splat(1.1283791671e-1));
  near = madd(near, square, f32x4.splat(-3.7612638903e-1));
  near = madd(near, square, f32x4.splat(1.1283791671));
  const tail = normalTail(size);
  const far = f32x4.sub(constant(ONE), f32x4.add(tail, tail));
  return v128.bitselect(f32x4.mul(near, x), v128.or(far, sign), f32x4.lt(size, constant(ONE)));
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

/** Accurate to 2e-7 where |x| <= 1e9; NaN for infinities. */
// @ts-ignore: decorator
@inline
export function sin(x: v128): v128 {
  return sineOfQuarter(x, 0);
}

/** As `sin`. */
// @ts-ignore: decorator
@inline
export function cos(x: v128): v128 {
  return sineOfQuarter(x, 1);
}

/** sin(x + quarters pi / 2). */
function sineOfQuarter(x: v128, quarters: i32): v128 {
  // float32 cannot hold the rest of a large angle, float64 can.
  const low = f64x2.promote_low_f32x4(x);
  const high = f64x2.promote_low_f32x4(v128.shuffle<f32>(x, x, 2, 3, 2, 3));
  const turnsLow = quarterTurns(low);
  const turnsHigh = quarterTurns(high);
  const r = v128.shuffle<f32>(restOfTurns(low, turnsLow), restOfTurns(high, turnsHigh), 0, 1, 4, 5);
  const whole = v128.shuffle<i32>(
    i32x4.trunc_sat_f64x2_s_zero(turnsLow),
    i32x4.trunc_sat_f64x2_s_zero(turnsHigh),
    0,
    1,
    4,
    5,
  );
  const quadrant = i32x4.add(whole, i32x4.splat(quarters));
  const odd = i32x4.ne(v128.and(quadrant, i32x4.splat(1)), i32x4.splat(0));
  const size = v128.bitselect(cosineOfRest(r), sineOfRest(r), odd);
  return v128.xor(size, i32x4.shl(v128.and(quadrant, i32x4.splat(2)), 30));
}

/** The sine of an angle of at most pi / 4. */
// @ts-ignore: decorator
@inline
export function sineOfRest(r: v128): v128 {
  const square = f32x4.mul(r, r);
  let sine = madd(constant(SIN), square, constant(SIN + 1));
  sine = madd(sine, square, constant(SIN + 2));
  return madd(f32x4.mul(sine, square), r, r);
}

/** And its cosine. */
// @ts-ignore: decorator
@inline
export function cosineOfRest(r: v128): v128 {
  const square = f32x4.mul(r, r);
  let cosine = madd(constant(COS), square, constant(COS + 1));
  cosine = madd(cosine, square, constant(COS + 2));
  return madd(f32x4.mul(cosine, square), square, madd(square, f32x4.splat(-0.5), constant(ONE)));
}

// @ts-ignore: decorator
@inline
function quarterTurns(x: v128): v128 {
  return f64x2.nearest(f64x2.mul(x, f64x2.splat(0.6366197723675814)));
}

/** x - turns pi / 2, with pi / 2 in two parts, the first exact in 33 bits. */
// @ts-ignore: decorator
@inline
function restOfTurns(x: v128, turns: v128): v128 {
  const rest = f64x2.sub(x, f64x2.mul(turns, f64x2.splat(1.57079632673412561417)));
  return f32x4.demote_f64x2_zero(f64x2.sub(rest, f64x2.mul(turns, f64x2.splat(6.07710050650619224932e-11))));
}
