/** Scalar functions in float64, for what runs once per row or on rare inputs. The standard library's would need tables. */

const LN2: f64 = 0.6931471805599453;

/** e^x as a float64, within 2 units in the last place. */
export function exp(x: f64): f64 {
  if (!(x > -746)) return x == x ? 0 : x;
  if (x > 710) return Infinity;
  const n = nearest(x / LN2);
  // ln 2 in two parts, so that the remainder keeps its bits.
  const r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
  let y: f64 = 1;
  for (let k: f64 = 13; k > 0; k--) y = 1 + (y * r) / k;
  // In two steps, since 2^n alone may be out of range.
  const half = <i64>n >> 1;
  return y * powerOfTwo(half) * powerOfTwo(<i64>n - half);
}

/** Natural logarithm of x > 0, within 1e-11. */
export function log(x: f64): f64 {
  if (!(x < Infinity)) return x;
  let exponent: f64 = 0;
  if (x < 2.2250738585072014e-308) {
    x *= 18014398509481984;
    exponent = -54;
  }
  const bits = reinterpret<i64>(x);
  let mantissa = reinterpret<f64>((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  exponent += <f64>((bits >> 52) - 1023);
  if (mantissa > 1.4142135623730951) {
    mantissa *= 0.5;
    exponent += 1;
  }
  // log m = 2 artanh((m - 1) / (m + 1)), whose argument is at most 0.172.
  const t = (mantissa - 1) / (mantissa + 1);
  const s = t * t;
  const series = 1 + s * (1.0 / 3 + s * (1.0 / 5 + s * (1.0 / 7 + s * (1.0 / 9 + s * (1.0 / 11 + s * (1.0 / 13))))));
  return exponent * LN2 + 2 * t * series;
}

/** x^y as in JavaScript, within a relative error of 1e-9. */
export function power(x: f64, y: f64): f64 {
  if (y == 0) return 1;
  const size = abs(x);
  if (x != x || y != y || (size == 1 && abs(y) == Infinity)) return NaN;
  const result = size == 0 ? (y > 0 ? 0 : Infinity) : exp(y * log(size));
  if (reinterpret<i64>(x) >= 0) return result;
  if (floor(y) != y) return size == 0 || size == Infinity ? result : NaN;
  return abs(y) < 9007199254740992 && y % 2 != 0 ? -result : result;
}

/** Within 1e-10 for |x| up to 1e6, 1e-7 up to 1e9; beyond, some number in [-1, 1]. */
export function sin(x: f64): f64 {
  return sinOfQuarters(x, 0);
}

/** As `sin`. */
export function cos(x: f64): f64 {
  return sinOfQuarters(x, 1);
}

/** sin(x + quarters pi / 2). */
function sinOfQuarters(x: f64, quarters: i32): f64 {
  if (!(abs(x) < Infinity)) return NaN;
  if (abs(x) > 1e9) x %= 6.283185307179586;
  const n = nearest(x * 0.6366197723675814);
  // pi / 2 in two parts, the first exact in 33 bits, so that the remainder keeps its bits.
  const r = x - n * 1.5707963267341256 - n * 6.077100506506192e-11;
  const s = r * r;
  const turn = (<i32>n + quarters) & 3;
  const value =
    turn & 1
      ? 1 - (s / 2) * (1 - (s / 12) * (1 - (s / 30) * (1 - (s / 56) * (1 - (s / 90) * (1 - s / 132)))))
      : r * (1 - (s / 6) * (1 - (s / 20) * (1 - (s / 42) * (1 - (s / 72) * (1 - (s / 110) * (1 - s / 156))))));
  return turn & 2 ? -value : value;
}

@inline
function powerOfTwo(n: i64): f64 {
  return reinterpret<f64>((n + 1023) << 52);
}
