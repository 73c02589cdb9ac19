/**
 * The field's functions of vectors of float32, as `runtime/wasm/assembly/functions.as.ts` has them: accurate to two units in the last
 * place for any argument, unless something else is said.
 */
import { CONSTANTS as C } from './constants';
import { type Kernel, Rounding, type Vector } from './kernel';

/** c0 x^n + c1 x^(n-1) + ... (Horner). */
export function polynomial(k: Kernel, x: Vector, [first, ...others]: readonly number[]): Vector {
  const y = k.number(first as number);
  for (const each of others) y.timesPlus(x, each);
  return y;
}

/** y x + c. */
function madd(y: Vector, x: Vector, c: Vector | number): Vector {
  const sum = y.copy();
  sum.timesPlus(x, c);
  return sum;
}

const sign = (k: Kernel) => k.bits(-(2 ** 31));
/** Without the sign. */
const size = (k: Kernel, x: Vector) => x.and(k.bits(2 ** 31 - 1));
const negative = (k: Kernel, x: Vector) => x.xor(sign(k));

/** e^x; infinity above the range, 0 and denormals below. */
export function exp(k: Kernel, x: Vector): Vector {
  // The variable second, since the second of two is what NaN gives.
  const bounded = k.number(C.EXP_LEAST).larger(k.number(C.EXP_MOST).smaller(x));
  const n = bounded.times(C.LOG2E).round();
  const r = restOf(bounded, n);
  const y = madd(madd(expTail(k, r), r, 1), r, 1);
  if (k.target.name === 'avx512') return y.scaled(n);
  // In two steps, since 2^n alone may be out of range.
  const half = n.times(0.5).round(Rounding.Down);
  const power = (of: Vector) => of.toWord().plusWords(k.bits(127)).shiftLeft(k.bits(23));
  return y.times(power(half)).times(power(n.minus(half)));
}

/** x - n ln 2. */
function restOf(x: Vector, n: Vector): Vector {
  const r = x.copy();
  r.addProduct(n, C.LN2_HIGH);
  r.addProduct(n, C.LN2_LOW);
  return r;
}

/** (e^r - 1 - r) / r^2. */
const expTail = (k: Kernel, r: Vector) => polynomial(k, r, C.EXP);

/** e^x - 1, accurate near 0 too. */
export function expm1(k: Kernel, x: Vector): Vector {
  const near = madd(expTail(k, x), x.times(x), x);
  return k.select(size(k, x), '<', k.number(C.EXP_NEAR), near, exp(k, x).minus(1));
}

/** The exponent of x relative to sqrt(1/2): 0 from there to sqrt(2). */
const exponentOf = (k: Kernel, x: Vector) => x.minusWords(k.number(C.ROOT_HALF)).shiftRight(k.bits(23));

/** x / 2^exponent - 1. */
const mantissaOf = (k: Kernel, x: Vector, exponent: Vector) => x.minusWords(exponent.shiftLeft(k.bits(23))).minus(1);

/** log(1 + m) + e ln 2. */
function logOfParts(k: Kernel, m: Vector, e: Vector): Vector {
  const square = m.times(m);
  const rest = polynomial(k, m, C.LOG).times(m).times(square).minus(e.times(C.LN2_LOW));
  const low = madd(square, k.number(C.MINUS_HALF), rest);
  return m.plus(low).minus(e.times(C.LN2_HIGH));
}

/** y, except where x is 0, negative, infinite or NaN. */
function logAtEnds(k: Kernel, x: Vector, y: Vector): Vector {
  const [zero, infinity] = [k.number(0), k.number(C.INFINITE)];
  const inner = k.select(x, '==', infinity, x, k.select(x, '==', zero, k.number(-C.INFINITE), y));
  return k.select(x, '>=', zero, inner, k.number(Number.NaN));
}

/** Natural logarithm: -infinity at 0, NaN below. */
export function log(k: Kernel, x: Vector): Vector {
  const normal = k.number(C.LOG_NORMAL);
  const scaled = k.select(x, '<', normal, x.times(C.LOG_SCALE), x);
  const exponent = exponentOf(k, scaled);
  const e = exponent.toFloat().minus(k.mask(x, '<', normal).and(k.number(23)));
  return logAtEnds(k, x, logOfParts(k, mantissaOf(k, scaled, exponent), e));
}

/** log(1 + x), accurate near 0 too; 3 units in the last place. */
export function log1p(k: Kernel, x: Vector): Vector {
  const sum = x.plus(1);
  const exponent = exponentOf(k, sum);
  const isNear = k.mask(x, '>', k.number(C.LOG_BELOW)).and(k.mask(x, '<', k.number(C.LOG_ABOVE)));
  const m = k.pick(isNear, x, mantissaOf(k, sum, exponent));
  return logAtEnds(k, sum, logOfParts(k, m, k.pick(isNear, k.number(0), exponent.toFloat())));
}

/** log(1 + e^x); 4 units in the last place. */
export const softplus = (k: Kernel, x: Vector): Vector =>
  k
    .number(0)
    .larger(x)
    .plus(log1p(k, exp(k, x.or(sign(k)))));

/** 1 / (1 + e^-x), from e^-|x|, which does not overflow. */
export function sigmoid(k: Kernel, x: Vector): Vector {
  const t = exp(k, x.or(sign(k)));
  return k.select(x, '<', k.number(0), t, k.number(1)).over(t.plus(1));
}

/** The derivative of sigmoid, without the difference 1 - y. */
export function sigmoidSlope(k: Kernel, x: Vector): Vector {
  const t = exp(k, x.or(sign(k)));
  const whole = t.plus(1);
  return t.over(whole.times(whole));
}

/** Half of erfc(z), for z >= 0, of 1 + z / 2 and -z^2: a fit with a relative error below 5e-8. */
function normalTail(k: Kernel, whole: Vector, exponent: Vector): Vector {
  const t = k.number(1).over(whole);
  return polynomial(k, t, [...C.TAIL].reverse())
    .times(t)
    .times(exp(k, exponent));
}

/** The cumulative distribution function of the standard normal distribution. */
export function normalCdf(k: Kernel, x: Vector): Vector {
  const whole = madd(size(k, x), k.number(C.HALF_ROOT), 1);
  const tail = normalTail(k, whole, x.times(C.MINUS_HALF).times(x));
  return k.select(x, '>=', k.number(0), k.number(1).minus(tail), tail);
}

/** The error function, by its series near 0; 4 units in the last place. */
export function erf(k: Kernel, x: Vector): Vector {
  const [ofX, square] = [x.and(sign(k)), x.times(x)];
  const z = size(k, x);
  const near = polynomial(k, square, C.ERF).times(x);
  const tail = normalTail(k, madd(z, k.number(C.HALF), 1), negative(k, square));
  return k.select(z, '<', k.number(1), near, k.number(1).minus(tail.plus(tail)).or(ofX));
}

/** 1 - 2 / (e^2|x| + 1), and a polynomial near 0. */
export function tanh(k: Kernel, x: Vector): Vector {
  const [ofX, square] = [x.and(sign(k)), x.times(x)];
  const z = size(k, x);
  const far = k.number(1).minus(k.number(2).over(exp(k, z.plus(z)).plus(1)));
  const near = madd(polynomial(k, square, C.TANH).times(square), x, x);
  return k.select(z, '<', k.number(C.TANH_NEAR), near, far.or(ofX));
}

/** -1, 0 or 1; 0 of either sign and NaN stay. */
export function signOf(k: Kernel, x: Vector): Vector {
  const zero = k.number(0);
  const one = k.number(1).or(x.and(sign(k)));
  return k.pick(k.mask(x, '<', zero).or(k.mask(x, '>', zero)), one, x);
}

/** To the nearest integer, halves upwards. */
export function roundUp(k: Kernel, x: Vector): Vector {
  const low = x.round(Rounding.Down);
  return low.plus(k.mask(x.minus(low), '>=', k.number(0.5)).and(k.number(1)));
}

/** As Math.min: NaN if one is, and the negative one of two zeros. */
export const least = (k: Kernel, x: Vector, y: Vector): Vector =>
  k.select(x, '==', x, x.smaller(y).or(y.smaller(x)), x);

/** As Math.max: NaN if one is, and the positive one of two zeros. */
export function most(k: Kernel, x: Vector, y: Vector): Vector {
  const larger = k.select(x, '==', y, x.and(y), x.larger(y));
  return k.select(x, '==', x, larger, x);
}

/** Without the fraction, the nearest word to what is beyond 32 bits; 0 of NaN. */
export function toWord(k: Kernel, x: Vector): Vector {
  const word = x.toWord().and(k.mask(x, '==', x));
  return k.select(x, '>=', k.number(2 ** 31), k.bits(2 ** 31 - 1), word);
}
