/** Rows of float64 numbers, which the decompositions are made of. */
import { maddWide } from '../../runtime/wasm/assembly/wide.as';

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
