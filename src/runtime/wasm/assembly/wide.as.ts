/** Vectors of float64. */

/** a * b + c of float64, fused if the build can. */
@inline
export function maddWide(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f64x2.relaxed_madd(a, b, c);
  return f64x2.add(f64x2.mul(a, b), c);
}

/** The product of two rows of `count` float64 numbers. */
export function dotWide(x: usize, y: usize, count: i32): f64 {
  let a = f64x2.splat(0);
  let b = a;
  let c = a;
  let d = a;
  let i: i32 = 0;
  for (; i + 8 <= count; i += 8, x += 64, y += 64) {
    a = maddWide(v128.load(x), v128.load(y), a);
    b = maddWide(v128.load(x, 16), v128.load(y, 16), b);
    c = maddWide(v128.load(x, 32), v128.load(y, 32), c);
    d = maddWide(v128.load(x, 48), v128.load(y, 48), d);
  }
  const four = f64x2.add(f64x2.add(a, b), f64x2.add(c, d));
  let sum = f64x2.extract_lane(four, 0) + f64x2.extract_lane(four, 1);
  for (; i < count; i++, x += 8, y += 8) sum += f64.load(x) * f64.load(y);
  return sum;
}
