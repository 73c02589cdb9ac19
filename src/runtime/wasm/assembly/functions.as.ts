/**
 * Functions of float32 vectors, accurate to two units in the last place for any argument. Most rest on exponentials, which
 * are cheaper where results are normal numbers: `small` says that no lane's magnitude is above the function's reach.
 */
import { MAGIC, madd } from './vector.as';
import {
  CONSTANTS, COS, ERF, EXP, EXP_LEAST, EXP_MAGIC, EXP_MOST, EXP_NEAR, HALF, HALF_ROOT, INFINITE, LN2_HIGH, LN2_LOW, LOG, LOG2E,
  LOG_ABOVE, LOG_BELOW, LOG_NORMAL, LOG_SCALE, MINUS_HALF, ONE, ROOT_HALF, SIGN, SIN, TAIL, TANH, TANH_NEAR, TWO,
} from './constants.generated.as';

@inline
function constant(place: usize): v128 {
  return v128.load(CONSTANTS + (place << 4));
}

/** Whether no lane's magnitude is above a reach; NaN is above. */
@inline
export function areSmall(x: v128, y: v128, reach: usize): bool {
  // Without signs floats order as their bits do.
  const larger = i32x4.max_s(v128.andnot(x, constant(SIGN)), v128.andnot(y, constant(SIGN)));
  return !v128.any_true(i32x4.gt_s(larger, constant(reach)));
}

/**
 * Three more terms of a polynomial in x (Horner), whose coefficients begin at `place`. Long polynomials are written out
 * below: by these erf and softplus would take a tenth longer.
 */
@inline
function threeMore(y: v128, x: v128, place: usize): v128 {
  return madd(madd(madd(y, x, constant(place)), x, constant(place + 1)), x, constant(place + 2));
}

/** (e^r - 1 - r) / r^2. */
@inline
function expTail(r: v128): v128 {
  return madd(threeMore(constant(EXP), r, EXP + 1), r, constant(EXP + 4));
}

/** e^(x - n ln 2) for the nearest n. */
@inline
function expOfRest(x: v128, n: v128): v128 {
  const r = madd(n, constant(LN2_LOW), madd(n, constant(LN2_HIGH), x));
  return madd(madd(expTail(r), r, constant(ONE)), r, constant(ONE));
}

/** e^x; infinity above the range, 0 and denormals below. */
@inline
export function exp(x: v128, small: bool = false): v128 {
  if (small) {
    const rounded = madd(x, constant(LOG2E), v128.load(MAGIC));
    return i32x4.add(expOfRest(x, f32x4.sub(rounded, v128.load(MAGIC))), i32x4.shl(rounded, 23));
  }
  // This order keeps NaN.
  const bounded = f32x4.pmax(f32x4.pmin(x, constant(EXP_MOST)), constant(EXP_LEAST));
  const rounded = madd(bounded, constant(LOG2E), constant(EXP_MAGIC));
  const y = expOfRest(bounded, f32x4.sub(rounded, constant(EXP_MAGIC)));
  // In two steps, since 2^n alone may be out of range.
  const half = i32x4.shr_u(rounded, 1);
  return f32x4.mul(f32x4.mul(y, i32x4.shl(half, 23)), i32x4.shl(i32x4.sub(rounded, half), 23));
}

/** e^x - 1, accurate near 0 too. */
@inline
export function expMinusOne(x: v128, small: bool = false): v128 {
  const near = madd(expTail(x), f32x4.mul(x, x), x);
  const far = f32x4.sub(exp(x, small), constant(ONE));
  return v128.bitselect(near, far, f32x4.lt(f32x4.abs(x), constant(EXP_NEAR)));
}

/** The exponent of x relative to sqrt(1/2): 0 from there to sqrt(2). */
@inline
function exponentOf(x: v128): v128 {
  return i32x4.shr_s(i32x4.sub(x, constant(ROOT_HALF)), 23);
}

/** x / 2^exponent - 1. */
@inline
function mantissaOf(x: v128, exponent: v128): v128 {
  return f32x4.sub(i32x4.sub(x, i32x4.shl(exponent, 23)), constant(ONE));
}

/** log(1 + m) + e ln 2. */
@inline
function logOfParts(m: v128, e: v128): v128 {
  const square = f32x4.mul(m, m);
  let y = madd(constant(LOG), m, constant(LOG + 1));
  y = madd(y, m, constant(LOG + 2));
  y = madd(y, m, constant(LOG + 3));
  y = madd(y, m, constant(LOG + 4));
  y = madd(y, m, constant(LOG + 5));
  y = madd(y, m, constant(LOG + 6));
  y = madd(y, m, constant(LOG + 7));
  y = madd(y, m, constant(LOG + 8));
  y = f32x4.sub(f32x4.mul(f32x4.mul(y, m), square), f32x4.mul(e, constant(LN2_LOW)));
  y = madd(square, constant(MINUS_HALF), y);
  return f32x4.sub(f32x4.add(m, y), f32x4.mul(e, constant(LN2_HIGH)));
}

/** y, except where x is 0, negative, infinite or NaN. */
@inline
function logAtEnds(x: v128, y: v128): v128 {
  const zero = f32x4.splat(0);
  y = v128.bitselect(f32x4.neg(constant(INFINITE)), y, f32x4.eq(x, zero));
  y = v128.bitselect(x, y, f32x4.eq(x, constant(INFINITE)));
  return v128.or(y, v128.not(f32x4.ge(x, zero)));
}

/** Natural logarithm: -infinity at 0, NaN below. */
@inline
export function log(x: v128): v128 {
  const tiny = f32x4.lt(x, constant(LOG_NORMAL));
  const scaled = v128.bitselect(f32x4.mul(x, constant(LOG_SCALE)), x, tiny);
  const exponent = exponentOf(scaled);
  const e = f32x4.convert_i32x4_s(i32x4.sub(exponent, v128.and(tiny, i32x4.splat(23))));
  return logAtEnds(x, logOfParts(mantissaOf(scaled, exponent), e));
}

/** log(1 + x), accurate near 0 too; 3 units in the last place. */
@inline
export function logOnePlus(x: v128): v128 {
  const sum = f32x4.add(x, constant(ONE));
  const exponent = exponentOf(sum);
  const isNear = v128.and(f32x4.gt(x, constant(LOG_BELOW)), f32x4.lt(x, constant(LOG_ABOVE)));
  const m = v128.bitselect(x, mantissaOf(sum, exponent), isNear);
  return logAtEnds(sum, logOfParts(m, f32x4.convert_i32x4_s(v128.andnot(exponent, isNear))));
}

/** log(1 + e^x); 4 units in the last place. */
@inline
export function softplus(x: v128, small: bool = false): v128 {
  return f32x4.add(f32x4.max(x, f32x4.splat(0)), logOnePlus(exp(v128.or(x, constant(SIGN)), small)));
}

/** 1 / (1 + e^-x), from e^-|x|, which does not overflow. */
@inline
export function sigmoid(x: v128, small: bool = false): v128 {
  const t = exp(v128.or(x, constant(SIGN)), small);
  const isBelow = f32x4.lt(x, f32x4.splat(0));
  return f32x4.div(v128.bitselect(t, constant(ONE), isBelow), f32x4.add(constant(ONE), t));
}

/** The derivative of sigmoid, without the difference 1 - y. */
@inline
export function sigmoidSlope(x: v128, small: bool = false): v128 {
  const t = exp(v128.or(x, constant(SIGN)), small);
  const whole = f32x4.add(constant(ONE), t);
  return f32x4.div(t, f32x4.mul(whole, whole));
}

/**
 * Half of erfc(z), for z >= 0, of 1 + z / 2 and -z^2: a fit with a relative error below 5e-8 that adds up in pairs, since the
 * exponential beside it is what there is to wait for.
 */
@inline
function normalTail(whole: v128, exponent: v128, small: bool): v128 {
  const t = f32x4.div(constant(ONE), whole);
  const square = f32x4.mul(t, t);
  const fourth = f32x4.mul(square, square);
  const low = madd(square, madd(t, constant(TAIL + 3), constant(TAIL + 2)), madd(t, constant(TAIL + 1), constant(TAIL)));
  const high = madd(square, madd(t, constant(TAIL + 7), constant(TAIL + 6)), madd(t, constant(TAIL + 5), constant(TAIL + 4)));
  const fit = madd(fourth, madd(fourth, constant(TAIL + 8), high), low);
  return f32x4.mul(f32x4.mul(t, fit), exp(exponent, small));
}

/** The cumulative distribution function of the standard normal distribution. */
@inline
export function normalCdf(x: v128, small: bool = false): v128 {
  const whole = madd(f32x4.abs(x), constant(HALF_ROOT), constant(ONE));
  const tail = normalTail(whole, f32x4.mul(f32x4.mul(x, constant(MINUS_HALF)), x), small);
  return v128.bitselect(f32x4.sub(constant(ONE), tail), tail, f32x4.ge(x, f32x4.splat(0)));
}

/** The error function, by its series near 0; 4 units in the last place. */
@inline
export function erf(x: v128, small: bool = false): v128 {
  const sign = v128.and(x, constant(SIGN));
  const size = v128.xor(x, sign);
  const square = f32x4.mul(x, x);
  let near = madd(constant(ERF), square, constant(ERF + 1));
  near = madd(near, square, constant(ERF + 2));
  near = madd(near, square, constant(ERF + 3));
  near = madd(near, square, constant(ERF + 4));
  near = madd(near, square, constant(ERF + 5));
  near = madd(near, square, constant(ERF + 6));
  near = madd(near, square, constant(ERF + 7));
  near = madd(near, square, constant(ERF + 8));
  near = madd(near, square, constant(ERF + 9));
  const tail = normalTail(madd(size, constant(HALF), constant(ONE)), f32x4.neg(square), small);
  const far = f32x4.sub(constant(ONE), f32x4.add(tail, tail));
  return v128.bitselect(f32x4.mul(near, x), v128.or(far, sign), f32x4.lt(size, constant(ONE)));
}

/** 1 - 2 / (e^2|x| + 1), and a polynomial near 0. */
@inline
export function tanh(x: v128, small: bool = false): v128 {
  const sign = v128.and(x, constant(SIGN));
  const size = v128.xor(x, sign);
  const y = exp(f32x4.add(size, size), small);
  const far = f32x4.sub(constant(ONE), f32x4.div(constant(TWO), f32x4.add(y, constant(ONE))));
  const square = f32x4.mul(x, x);
  let near = madd(threeMore(constant(TANH), square, TANH + 1), square, constant(TANH + 4));
  near = madd(f32x4.mul(near, square), x, x);
  return v128.bitselect(near, v128.or(far, sign), f32x4.lt(size, constant(TANH_NEAR)));
}

/** Accurate to 2e-7 where |x| <= 1e9; NaN for infinities. */
@inline
export function sin(x: v128): v128 {
  return sineOfQuarter(x, 0);
}

/** As `sin`. */
@inline
export function cos(x: v128): v128 {
  return sineOfQuarter(x, 1);
}

/** sin(x + quarters pi / 2). */
function sineOfQuarter(x: v128, quarters: i32): v128 {
  // Float64, so that the remainder of a large angle keeps its digits.
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
@inline
export function sineOfRest(r: v128): v128 {
  const square = f32x4.mul(r, r);
  let sine = madd(constant(SIN), square, constant(SIN + 1));
  sine = madd(sine, square, constant(SIN + 2));
  return madd(f32x4.mul(sine, square), r, r);
}

/** The cosine of such an angle. */
@inline
export function cosineOfRest(r: v128): v128 {
  const square = f32x4.mul(r, r);
  let cosine = madd(constant(COS), square, constant(COS + 1));
  cosine = madd(cosine, square, constant(COS + 2));
  return madd(f32x4.mul(cosine, square), square, madd(square, constant(MINUS_HALF), constant(ONE)));
}

@inline
function quarterTurns(x: v128): v128 {
  return f64x2.nearest(f64x2.mul(x, f64x2.splat(0.6366197723675814)));
}

/** x - turns pi / 2, with pi / 2 in two parts, the first exact in 33 bits. */
@inline
function restOfTurns(x: v128, turns: v128): v128 {
  const rest = f64x2.sub(x, f64x2.mul(turns, f64x2.splat(1.57079632673412561417)));
  return f32x4.demote_f64x2_zero(f64x2.sub(rest, f64x2.mul(turns, f64x2.splat(6.07710050650619224932e-11))));
}
