/** Gaussian elimination with partial pivoting, a matrix a task, in float64. */
import { BAD_PIVOT, DenseParams, FINE } from './params.generated.as';
import { addRow, put, scaleRow, widen } from './rows.as';

/** Pivots below so much of the largest element, times n, are none. */
const EPSILON: f64 = 2.3e-16;

/** Solves a x = b into `first`, and writes the logarithm of |det a| and its sign into `second` and `third`. */
export function lu(params: usize, task: i32, scratch: usize): void {
  const p = changetype<DenseParams>(params);
  const n = p.rows;
  const columns = p.others;
  const size = <usize>(p.wide ? 8 : 4);
  const row = <usize>n << 3;
  const right = <usize>columns << 3;
  const a = p.memory + <usize>task * p.bytes;
  const b = a + <usize>n * row;
  widen(p.a + <usize>task * <usize>n * <usize>n * size, p.wide, n * n, a);
  if (p.b) widen(p.b + <usize>task * <usize>n * <usize>columns * size, p.wide, n * columns, b);
  let largest: f64 = 0;
  for (let at: usize = 0, past = <usize>n * row; at < past; at += 8) largest = max(largest, abs(f64.load(a + at)));
  const least = EPSILON * <f64>n * largest;
  const status = p.status + (<usize>(task * n) << 2);
  memory.fill(status, 0, <usize>n << 2);
  let log: f64 = 0;
  let sign: f64 = 1;
  for (let k: i32 = 0; k < n; k++) {
    const best = pivotRow(a, n, k);
    if (best != k) {
      sign = -sign;
      swap(a + <usize>best * row, a + <usize>k * row, n);
      swap(b + <usize>best * right, b + <usize>k * right, columns);
    }
    const own = a + <usize>k * row;
    const pivot = f64.load(own + (<usize>k << 3));
    const isGood = abs(pivot) > least && pivot - pivot == 0;
    i32.store(status + (<usize>k << 2), isGood ? FINE : BAD_PIVOT);
    if (!isGood) {
      for (let i = k + 1; i < n; i++) i32.store(status + (<usize>i << 2), FINE);
      break;
    }
    log += logarithm(abs(pivot));
    if (pivot < 0) sign = -sign;
    for (let i = k + 1; i < n; i++) {
      const at = a + <usize>i * row;
      const factor = f64.load(at + (<usize>k << 3)) / pivot;
      if (factor == 0) continue;
      addRow(at + (<usize>(k + 1) << 3), own + (<usize>(k + 1) << 3), n - k - 1, -factor);
      addRow(b + <usize>i * right, b + <usize>k * right, columns, -factor);
    }
  }
  if (p.second) put(p.second, p.wide, task, log);
  if (p.third) put(p.third, p.wide, task, sign);
  if (!p.b) return;
  for (let k = n - 1; k >= 0; k--) {
    const own = b + <usize>k * right;
    for (let j = k + 1; j < n; j++) addRow(own, b + <usize>j * right, columns, -f64.load(a + <usize>k * row + (<usize>j << 3)));
    scaleRow(own, columns, 1 / f64.load(a + <usize>k * row + (<usize>k << 3)));
  }
  for (let at: i32 = 0; at < n * columns; at++) put(p.first, p.wide, task * n * columns + at, f64.load(b + (<usize>at << 3)));
}

/** The natural logarithm of x > 0. Tables such as the library's would be written into the memory that threads share. */
function logarithm(x: f64): f64 {
  if (x < 2.2250738585072014e-308) return logarithm(x * 18014398509481984) - 54 * Math.LN2;
  const bits = reinterpret<u64>(x);
  const exponent = <i32>(bits >> 52) - 1023;
  const mantissa = reinterpret<f64>((bits & 0xfffffffffffff) | 0x3ff0000000000000);
  const t = (mantissa - 1) / (mantissa + 1);
  const square = t * t;
  let sum: f64 = 0;
  for (let k: i32 = 35; k > 0; k -= 2) sum = sum * square + 1 / <f64>k;
  return 2 * t * sum + <f64>exponent * Math.LN2;
}

@inline
function pivotRow(a: usize, n: i32, k: i32): i32 {
  let best = k;
  let largest: f64 = -1;
  for (let i = k; i < n; i++) {
    const size = abs(f64.load(a + (<usize>(i * n + k) << 3)));
    if (size > largest) {
      largest = size;
      best = i;
    }
  }
  return best;
}

function swap(x: usize, y: usize, count: i32): void {
  for (let i: i32 = 0; i < count; i++, x += 8, y += 8) {
    const value = f64.load(x);
    f64.store(x, f64.load(y));
    f64.store(y, value);
  }
}
