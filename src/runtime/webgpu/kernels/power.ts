/** Powers and remainders in WGSL, in f32, as in JavaScript; they need `functions(...POWER_NEEDS)`. */

export const POWER_NEEDS = ['is_nan', 'not_a_number', 'power_of_two', 'growth_of_rest'] as const;

/**
 * x^y, within 3 units in the last place. The logarithm is in two parts, and factors are cut to 12 bits, so that their products
 * are exact whether or not a device fuses; the cuts are opaque to compilers that reorder sums.
 */
export const POWER = `
fn score_twelve_bits(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffff000); }

/// For x > 0, finite, and finite y.
fn score_power_of_positive(x: f32, y: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let is_denormal = bits < 0x00800000u;
  let normal = select(bits, bitcast<u32>(f32(bits)), is_denormal);
  var e = f32(normal >> 23) - select(127.0, 276.0, is_denormal);
  var m = bitcast<f32>((normal & 0x007fffff) | 0x3f800000);
  if (m > 1.41421356) {
    m *= 0.5;
    e += 1.0;
  }
  // log m = 2 atanh(s) for s = (m - 1) / (m + 1).
  let above = m - 1.0;
  let below = m + 1.0;
  let below_high = score_twelve_bits(below);
  let below_low = (1.0 - below_high) + m;
  let s = above / below;
  let s_high = score_twelve_bits(s);
  let left = (above - s_high * below_high) - s_high * below_low;
  let square = s * s;
  var series = fma(square, 0.0909090909, 0.111111111);
  series = fma(square, series, 0.142857143);
  series = fma(square, series, 0.2);
  series = fma(square, series, 0.333333333);
  let s_low = left / below + s * square * series;
  // The logarithm to base 2 is e + main + minor; 2 / ln 2 in two parts, the first of 12 bits.
  let main = 2.884765625 * s_high;
  let minor = fma(6.24456778e-4, s_high, 2.88539008 * s_low);
  let log_high = score_twelve_bits(e + main + minor);
  let log_low = ((e - log_high) + main) + minor;
  let rough = y * log_high;
  if (rough > 200.0) { return numbers.infinity; }
  if (rough < -200.0) { return 0.0; }
  let y_high = score_twelve_bits(y);
  let product = y_high * log_high;
  let product_rest = (y - y_high) * log_high + y * log_low;
  let whole = round(product + product_rest);
  let rest = (product - whole) + product_rest;
  let n = clamp(i32(whole), -200, 200);
  let half = n >> 1;
  return (1.0 + growth_of_rest(rest * 0.693147181, 0.0)) * power_of_two(half) * power_of_two(n - half);
}

fn score_power(x: f32, y: f32) -> f32 {
  let size = abs(x);
  let is_large = abs(y) >= 16777216.0;
  let is_whole = is_large || floor(y) == y;
  let is_odd = is_whole && !is_large && (i32(y) & 1) == 1;
  let is_negative = bitcast<u32>(x) >> 31 == 1;
  let is_infinite_x = (bitcast<u32>(x) & 0x7fffffff) == 0x7f800000;
  let is_infinite_y = (bitcast<u32>(y) & 0x7fffffff) == 0x7f800000;
  if (is_nan(y)) { return y; }
  if ((bitcast<u32>(y) & 0x7fffffff) == 0) { return 1.0; }
  if (is_nan(x)) { return x; }
  if (is_infinite_y) {
    if (size == 1.0) { return not_a_number(); }
    return select(0.0, numbers.infinity, (size > 1.0) == (y > 0.0));
  }
  var result: f32;
  if ((bitcast<u32>(x) & 0x7fffffff) == 0) { result = select(0.0, numbers.infinity, y < 0.0); }
  else if (is_infinite_x) { result = select(0.0, numbers.infinity, y > 0.0); }
  else if (is_negative && !is_whole) { return not_a_number(); }
  else { result = score_power_of_positive(size, y); }
  return select(result, -result, is_negative && is_odd);
}`;

/** The exact remainder of x / y, with the sign of x: long division of the mantissas, eight bits at a time. */
export const REMAINDER = `
fn score_remainder(x: f32, y: f32) -> f32 {
  let sign = bitcast<u32>(x) & 0x80000000;
  let a = bitcast<u32>(x) & 0x7fffffff;
  let b = bitcast<u32>(y) & 0x7fffffff;
  if (a > 0x7f800000) { return x; }
  if (b > 0x7f800000) { return y; }
  if (a == 0x7f800000 || b == 0) { return not_a_number(); }
  if (a < b) { return x; }
  let exponent = max(b >> 23, 1u);
  let divisor = select(b & 0x7fffff, (b & 0x7fffff) | 0x800000, b >= 0x800000);
  var rest = select(a & 0x7fffff, (a & 0x7fffff) | 0x800000, a >= 0x800000) % divisor;
  for (var shift = max(a >> 23, 1u) - exponent; shift > 0; ) {
    let step = min(shift, 8u);
    rest = (rest << step) % divisor;
    shift -= step;
  }
  let up = countLeadingZeros(rest) - 8;
  if (rest == 0) { return bitcast<f32>(sign); }
  if (up < exponent) { return bitcast<f32>(sign | ((exponent - up) << 23) | ((rest << up) & 0x7fffff)); }
  return bitcast<f32>(sign | (rest << (exponent - 1)));
}`;
