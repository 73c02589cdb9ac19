/** Rows of float64 numbers, which the decompositions are made of. */
import { maddWide } from './substitute.as';

/** y += factor x */
export function addRow(y: usize, x: usize, count: i32, factor: f64): void {
  const factors = f64x2.splat(factor);
  let i: i32 = 0;
  for (; i + 4 <= count; i += 4, x += 32, y += 32) {
    v128.store(y, maddWide(factors, v128.load(x), v128.load(y)));
    v128.store(y, maddWide(factors, v128.load(x, 16), v128.load(y, 16)), 16);
  }
  for (; i < count; i++, x += 8, y += 8) f64.store(y, f64.load(y) + factor * f64.load(x));
}

export function dotRows(x: usize, y: usize, count: i32): f64 {
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

export function scaleRow(x: usize, count: i32, factor: f64): void {
  for (let i: i32 = 0; i < count; i++, x += 8) f64.store(x, f64.load(x) * factor);
}

/** x, y = c x - s y, s x + c y */
export function rotateRows(x: usize, y: usize, count: i32, c: f64, s: f64): void {
  const cs = f64x2.splat(c);
  const ss = f64x2.splat(s);
  const minus = f64x2.splat(-s);
  let i: i32 = 0;
  for (; i + 2 <= count; i += 2, x += 16, y += 16) {
    const a = v128.load(x);
    const b = v128.load(y);
    v128.store(x, maddWide(minus, b, f64x2.mul(cs, a)));
    v128.store(y, maddWide(ss, a, f64x2.mul(cs, b)));
  }
  for (; i < count; i++, x += 8, y += 8) {
    const a = f64.load(x);
    const b = f64.load(y);
    f64.store(x, c * a - s * b);
    f64.store(y, s * a + c * b);
  }
}

/** Numbers of a tensor, f64 or f32, as f64. */
export function widen(from: usize, isWide: bool, count: i32, to: usize): void {
  if (isWide) memory.copy(to, from, <usize>count << 3);
  else for (let i: i32 = 0; i < count; i++, from += 4, to += 8) f64.store(to, <f64>f32.load(from));
}

@inline
export function put(to: usize, isWide: bool, at: i32, value: f64): void {
  if (isWide) f64.store(to + (<usize>at << 3), value);
  else f32.store(to + (<usize>at << 2), <f32>value);
}
