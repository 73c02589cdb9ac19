/**
 * Elementary functions in WGSL, f32 to f32. WGSL's own are inaccurate (exp by 3 + 2|x| units in the last place, sin by 2^-11
 * and only up to pi), so these are made of sums, products and bits. Zeros, infinities and NaN are as they should be; denormal
 * results are 0 on adapters that flush them, as WGSL allows.
 *
 *   is_nan(x), is_positive(x), not_a_number()
 *   precise_exp(x)           2 units in the last place, like all without a remark
 *   precise_expm1(x)         e^x - 1; 3 units
 *   precise_log(x)           -infinity at 0, NaN below
 *   precise_tanh(x)          4 units
 *   precise_sigmoid(x)       1 / (1 + e^-x); 4 units
 *   precise_log1p(x)         log(1 + x); 3 units
 *   precise_softplus(x)      log(1 + e^x); 4 units
 *   sigmoid_slope(x)         the derivative of the sigmoid; 6 units
 *   precise_erf(x)           4 units
 *   precise_sin(x), precise_cos(x)  within 1.5e-7, for any angle; NaN for infinities
 *   normal_cdf(x)            the standard normal CDF, within 3e-7
 *   wide_product(a, b)       the exact product of unsigned words: the high and the low word
 *   integer_power(x, n)      x^n, n from 0 on, by squaring: n / 2 units
 */

/** Coefficients of polynomials, that of the highest power first. */
const COEFFICIENTS = {
  growth: '1.98756915e-4 1.3981999507e-3 8.3334519073e-3 4.1665795894e-2 1.6666665459e-1 5.0000001201e-1',
  log: `7.0376836292e-2 -1.151461031e-1 1.167699874e-1 -1.2420140846e-1 1.4249322787e-1 -1.6668057665e-1
    2.0000714765e-1 -2.4999993993e-1 3.3333331174e-1`,
  sine: '-1.9515295891e-4 8.3321608736e-3 -1.6666654611e-1',
  cosine: '2.443315711809948e-5 -1.388731625493765e-3 4.166664568298827e-2',
  normalTail: `0.17087277 -0.82215223 1.48851587 -1.13520398 0.27886807 -0.18628806 0.09678418 0.37409196 1.00002368
    -1.26551223`,
  erf: `-1.6365845e-7 1.6462114e-6 -1.4925650e-5 1.2055333e-4 -8.5483270e-4 5.2239776e-3 -2.6866171e-2
    1.1283792e-1 -3.7612639e-1`,
};

/** A variable that is the polynomial in x with these coefficients, the last one constant. */
function polynomial(name: string, x: string, coefficients: string): string {
  const [first, second, ...rest] = coefficients.split(/\s+/);
  const steps = rest.map((coefficient) => `  ${name} = fma(${name}, ${x}, ${coefficient});`);
  return [`var ${name} = fma(${first}, ${x}, ${second});`, ...steps].join('\n');
}

const SOURCES = {
  is_nan: {
    // Compilers may assume that x == x.
    text: 'fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffff) > 0x7f800000; }',
  },
  is_positive: {
    // Comparisons may treat denormals as 0.
    text: 'fn is_positive(x: f32) -> bool { return bitcast<u32>(x) - 1 < 0x7f800000; }',
  },
  not_a_number: {
    text: 'fn not_a_number() -> f32 { return bitcast<f32>(bitcast<u32>(numbers.infinity) | 0x400000); }',
  },
  power_of_two: {
    text: 'fn power_of_two(n: i32) -> f32 { return bitcast<f32>((n + 127) << 23); }',
  },
  growth_of_rest: {
    // ln 2 in two parts, the first exact in 11 bits; then e^r = 1 + r + r^2 (...) on [-ln 2 / 2, ln 2 / 2].
    text: `
/// e^r - 1 of what is left of x after n ln 2.
fn growth_of_rest(x: f32, n: f32) -> f32 {
  let r = (x - n * 0.693359375) + n * 2.12194440e-4;
  ${polynomial('y', 'r', COEFFICIENTS.growth)}
  return fma(y, r * r, r);
}`,
  },
  precise_exp: {
    needs: ['is_nan', 'power_of_two', 'growth_of_rest'],
    // The power of two is applied in two steps, since by itself it may be out of range.
    text: `
fn precise_exp(x: f32) -> f32 {
  let bounded = clamp(x, -104.0, 89.0);
  let n = round(bounded * 1.44269504);
  let half = i32(n) >> 1;
  let y = (1.0 + growth_of_rest(bounded, n)) * power_of_two(half) * power_of_two(i32(n) - half);
  let ranged = select(select(y, numbers.infinity, x > 88.722839), 0.0, x < -103.972077);
  return select(ranged, x, is_nan(x));
}`,
  },
  precise_expm1: {
    needs: ['precise_exp', 'power_of_two', 'growth_of_rest'],
    text: `
fn precise_expm1(x: f32) -> f32 {
  let bounded = clamp(x, -18.0, 18.0);
  let n = round(bounded * 1.44269504);
  let scale = power_of_two(i32(n));
  let y = fma(scale, growth_of_rest(bounded, n), scale - 1.0);
  return select(select(y, precise_exp(x), x > 17.5), x, is_nan(x) || x == 0.0);
}`,
  },
  log_tail: {
    // log(1 + m) = m - m^2 / 2 + m^3 (...) for 1 + m from sqrt(1/2) to sqrt(2).
    text: `
/// What log(1 + m) has beyond m - m^2 / 2.
fn log_tail(m: f32, square: f32) -> f32 {
  ${polynomial('y', 'm', COEFFICIENTS.log)}
  return y * m * square;
}`,
  },
  precise_log1p: {
    needs: ['log_tail', 'precise_log'],
    text: `
fn precise_log1p(x: f32) -> f32 {
  if (x > -0.29 && x < 0.41) {
    let square = x * x;
    return select(x + fma(square, -0.5, log_tail(x, square)), x, x == 0.0);
  }
  return precise_log(1.0 + x);
}`,
  },
  precise_softplus: {
    needs: ['is_nan', 'precise_exp', 'precise_log1p'],
    text: `
fn precise_softplus(x: f32) -> f32 {
  let rest = precise_log1p(precise_exp(-abs(x)));
  return select(select(0.0, x, x > 0.0) + rest, x, is_nan(x));
}`,
  },
  sigmoid_slope: {
    needs: ['precise_exp'],
    text: `
fn sigmoid_slope(x: f32) -> f32 {
  let t = precise_exp(-abs(x));
  return t / ((1.0 + t) * (1.0 + t));
}`,
  },
  precise_log: {
    needs: ['is_nan', 'not_a_number', 'log_tail'],
    text: `
fn precise_log(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  // Denormals as the integers that their bits are, lest they be flushed.
  let is_denormal = bits < 0x00800000u;
  let normal = select(bits, bitcast<u32>(f32(bits)), is_denormal);
  var exponent = f32(normal >> 23) - select(126.0, 275.0, is_denormal);
  var m = bitcast<f32>((normal & 0x007fffff) | 0x3f000000);
  let is_low = m < 0.70710678;
  exponent -= select(0.0, 1.0, is_low);
  m = select(m, m + m, is_low) - 1.0;
  let square = m * m;
  var y = fma(exponent, -2.12194440e-4, log_tail(m, square));
  y = fma(square, -0.5, y);
  y = fma(exponent, 0.693359375, m + y);
  if (is_nan(x) || bits == 0x7f800000) { return x; }
  if ((bits & 0x7fffffff) == 0) { return -numbers.infinity; }
  return select(y, not_a_number(), (bits >> 31) == 1);
}`,
  },
  precise_tanh: {
    needs: ['precise_expm1'],
    text: `
fn precise_tanh(x: f32) -> f32 {
  let growth = precise_expm1(2.0 * min(abs(x), 10.0));
  let size = growth / (growth + 2.0);
  return select(select(size, -size, x < 0.0), x, is_nan(x) || x == 0.0);
}`,
  },
  precise_sigmoid: {
    needs: ['precise_exp'],
    text: `
fn precise_sigmoid(x: f32) -> f32 {
  let t = precise_exp(-abs(x));
  return select(1.0, t, x < 0.0) / (1.0 + t);
}`,
  },
  wide_product: {
    text: `
/// The product's high and low word.
fn wide_product(a: u32, b: u32) -> vec2u {
  let low = (a & 0xffff) * (b & 0xffff);
  let cross = (a >> 16) * (b & 0xffff) + (low >> 16);
  let other = (a & 0xffff) * (b >> 16) + (cross & 0xffff);
  return vec2u((a >> 16) * (b >> 16) + (cross >> 16) + (other >> 16), a * b);
}`,
  },
  sine_of_rest: {
    text: `
/// On [-pi / 4, pi / 4]: r + r^3 (...).
fn sine_of_rest(r: f32) -> f32 {
  let square = r * r;
  ${polynomial('sine', 'square', COEFFICIENTS.sine)}
  return select(fma(sine * square, r, r), r, r == 0.0);
}`,
  },
  cosine_of_rest: {
    text: `
/// On [-pi / 4, pi / 4]: 1 - r^2 / 2 + r^4 (...).
fn cosine_of_rest(r: f32) -> f32 {
  let square = r * r;
  ${polynomial('cosine', 'square', COEFFICIENTS.cosine)}
  return fma(cosine * square, square, fma(square, -0.5, 1.0));
}`,
  },
  sine_of_quarter: {
    needs: ['not_a_number', 'wide_product', 'sine_of_rest', 'cosine_of_rest'],
    text: `
/// 2 / pi, its bits from the first after the point on.
const TWO_OVER_PI = array<u32, 7>(
  0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab);

fn bits_of_two_over_pi(at: u32) -> u32 {
  let word = at / 32;
  let shift = at % 32;
  return select((TWO_OVER_PI[word] << shift) | (TWO_OVER_PI[word + 1] >> (32 - max(shift, 1u))), TWO_OVER_PI[word], shift == 0);
}

/// sin(x + quarters pi / 2).
fn sine_of_quarter(x: f32, quarters: u32) -> f32 {
  let bits = bitcast<u32>(x);
  var r = x;
  var quadrant = quarters;
  if (abs(x) > 0.78539816) {
    // Quarter turns modulo 4 in fixed point, two bits before the point: no float could hold the rest of a large angle.
    let mantissa = (bits & 0x007fffff) | 0x00800000;
    let exponent = i32((bits >> 23) & 0xff) - 150;
    // The mantissa times 2^exponent times 2 / pi: bits of 2 / pi that are worth 4 turns and more do not matter.
    let first = exponent - 2;
    var high: u32;
    var middle: u32;
    var low: u32;
    if (first >= 0) {
      high = bits_of_two_over_pi(u32(first));
      middle = bits_of_two_over_pi(u32(first) + 32);
      low = bits_of_two_over_pi(u32(first) + 64);
    } else {
      let shift = u32(-first);
      high = TWO_OVER_PI[0] >> shift;
      middle = (TWO_OVER_PI[0] << (32 - shift)) | (TWO_OVER_PI[1] >> shift);
      low = (TWO_OVER_PI[1] << (32 - shift)) | (TWO_OVER_PI[2] >> shift);
    }
    let product = wide_product(mantissa, middle);
    let rest = product.y + wide_product(mantissa, low).x;
    let turns = mantissa * high + product.x + select(0u, 1u, rest < product.y);
    // To the nearest quarter.
    var whole = (turns + 0x20000000) >> 30;
    var fraction = vec2u((turns << 2) | (rest >> 30), rest << 2);
    let is_below = (fraction.x >> 31) == 1;
    if (is_below) { fraction = ~fraction; }
    let size = f32(fraction.x) * 3.6572952e-10 + f32(fraction.y) * 8.515304e-20;
    r = select(size, -size, is_below);
    if ((bits >> 31) == 1) {
      r = -r;
      whole = 0 - whole;
    }
    quadrant += whole;
  }
  let size = select(sine_of_rest(r), cosine_of_rest(r), (quadrant & 1) == 1);
  let value = select(size, -size, (quadrant & 2) == 2);
  return select(value, not_a_number(), (bits & 0x7fffffff) >= 0x7f800000);
}`,
  },
  precise_sin: {
    needs: ['sine_of_quarter'],
    text: 'fn precise_sin(x: f32) -> f32 { return sine_of_quarter(x, 0); }',
  },
  precise_cos: {
    needs: ['sine_of_quarter'],
    text: 'fn precise_cos(x: f32) -> f32 { return sine_of_quarter(x, 1); }',
  },
  normal_tail: {
    needs: ['precise_exp'],
    // By a fit of log(erfc) with a relative error below 1.2e-7 (Press et al., Numerical Recipes, section 6.2).
    text: `
/// Half of erfc(z), for z >= 0.
fn normal_tail(z: f32) -> f32 {
  let t = 1.0 / fma(z, 0.5, 1.0);
  ${polynomial('y', 't', COEFFICIENTS.normalTail)}
  return t * 0.5 * precise_exp(y - z * z);
}`,
  },
  normal_cdf: {
    needs: ['is_nan', 'normal_tail'],
    text: `
fn normal_cdf(x: f32) -> f32 {
  let tail = normal_tail(min(abs(x), 20.0) * 0.70710678);
  return select(select(1.0 - tail, tail, x < 0.0), x, is_nan(x));
}`,
  },
  precise_erf: {
    needs: ['is_nan', 'normal_tail'],
    // Near 0 by its series, 2 / sqrt(pi) times the sum of (-1)^i x^(2 i + 1) / (i! (2 i + 1)).
    text: `
fn precise_erf(x: f32) -> f32 {
  if (is_nan(x) || x == 0.0) { return x; }
  if (abs(x) < 1.0) {
    let square = x * x;
    ${polynomial('y', 'square', COEFFICIENTS.erf)}
    return fma(y, square, 1.1283792) * x;
  }
  let size = 1.0 - 2.0 * normal_tail(min(abs(x), 20.0));
  return select(size, -size, x < 0.0);
}`,
  },
  integer_power: {
    text: `
fn integer_power(x: f32, n: u32) -> f32 {
  var result = 1.0;
  var square = x;
  for (var rest = n; rest > 0; rest >>= 1) {
    if ((rest & 1) == 1) { result *= square; }
    square *= square;
  }
  return result;
}`,
  },
} as const;

export type FunctionName = keyof typeof SOURCES;

interface Source {
  readonly needs?: readonly FunctionName[];
  readonly text: string;
}

/** The text of these functions and of those they need, for the head of a body. */
export function functions(...names: FunctionName[]): string {
  const wanted = new Set<FunctionName>();
  const want = (name: FunctionName) => {
    const { needs }: Source = SOURCES[name];
    needs?.forEach(want);
    wanted.add(name);
  };
  names.forEach(want);
  return [...wanted].map((name) => SOURCES[name].text.trim()).join('\n');
}
