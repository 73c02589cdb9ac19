/** Elementwise kernels and kernels over whole rows; tasks are runs of elements or rows. */
import { exp2Clamped, madd, sumOfLanes } from './vector';

/** Elements of one task. */
const RUN: usize = 16384;

/** Operations, as the host numbers them. */
const RELU: i32 = 0;
const ADD: i32 = 0;

@unmanaged
class UnaryParams {
  operation: f64;
  size: f64;
  x: f64;
  out: f64;
}

export function unary(params: usize, task: i32, scratch: usize): void {
  const p = changetype<UnaryParams>(params);
  const operation = <i32>p.operation;
  const from = <usize>task * RUN;
  const to = min(from + RUN, <usize>p.size);
  const x = <usize>p.x;
  const out = <usize>p.out;
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const value = v128.load(x + (i << 2));
    v128.store(out + (i << 2), operation == RELU ? relu(value) : tanh(value));
  }
  for (; i < to; i++) {
    const value = v128.load32_zero(x + (i << 2));
    v128.store32_lane(out + (i << 2), operation == RELU ? relu(value) : tanh(value), 0);
  }
}

// @ts-ignore: decorator
@inline
function relu(x: v128): v128 {
  return f32x4.max(x, f32x4.splat(0));
}

/** (1 - 2^-2|x|log2 e) / (1 + ...), and the series near 0, where that loses digits. */
function tanh(x: v128): v128 {
  const size = f32x4.abs(x);
  // Through min and max that propagate NaN.
  const t = exp2Clamped(f32x4.mul(f32x4.min(size, f32x4.splat(40)), f32x4.splat(-2.8853900817779268)));
  const one = f32x4.splat(1);
  const far = f32x4.div(f32x4.sub(one, t), f32x4.add(one, t));
  const square = f32x4.mul(size, size);
  let near = madd(square, f32x4.splat(0.021869488536155203), f32x4.splat(-0.05396825396825397));
  near = madd(near, square, f32x4.splat(0.13333333333333333));
  near = madd(near, square, f32x4.splat(-0.3333333333333333));
  near = madd(f32x4.mul(near, square), size, size);
  const magnitude = v128.bitselect(near, far, f32x4.lt(size, f32x4.splat(0.25)));
  const result = v128.or(magnitude, v128.and(x, f32x4.splat(-0.0)));
  return v128.bitselect(result, x, f32x4.eq(x, x));
}

@unmanaged
class BinaryParams {
  operation: f64;
  size: f64;
  period: f64;
  a: f64;
  b: f64;
  out: f64;
}

export function binary(params: usize, task: i32, scratch: usize): void {
  const p = changetype<BinaryParams>(params);
  const operation = <i32>p.operation;
  const period = <usize>p.period;
  const out = <usize>p.out;
  const last = min(<usize>task * RUN + RUN, <usize>p.size);
  let i = <usize>task * RUN;
  while (i < last) {
    // One stretch of b at a time.
    const offset = i % period;
    const end = min(last, i + period - offset);
    let b = <usize>p.b + (offset << 2);
    let a = <usize>p.a + (i << 2);
    let to = out + (i << 2);
    for (; i + 4 <= end; i += 4, a += 16, b += 16, to += 16) {
      const x = v128.load(a);
      const y = v128.load(b);
      v128.store(to, operation == ADD ? f32x4.add(x, y) : f32x4.mul(x, y));
    }
    for (; i < end; i++, a += 4, b += 4, to += 4) {
      const x = f32.load(a);
      const y = f32.load(b);
      f32.store(to, operation == ADD ? x + y : x * y);
    }
  }
}

@unmanaged
class LayerNormParams {
  rows: f64;
  columns: f64;
  x: f64;
  gain: f64;
  bias: f64;
  out: f64;
  epsilon: f64;
}

/** Rows of one task. */
const ROWS: i32 = 16;

export function layerNorm(params: usize, task: i32, scratch: usize): void {
  const p = changetype<LayerNormParams>(params);
  const columns = <usize>p.columns;
  const last = min((task + 1) * ROWS, <i32>p.rows);
  for (let r = task * ROWS; r < last; r++) {
    const x = <usize>p.x + <usize>r * (columns << 2);
    const out = <usize>p.out + <usize>r * (columns << 2);
    const mean = sumAround(x, columns, 0, false) / <f32>columns;
    const variance = sumAround(x, columns, mean, true) / <f32>columns;
    const factor = <f32>(1 / sqrt(<f64>variance + p.epsilon));
    const mean4 = f32x4.splat(mean);
    const factor4 = f32x4.splat(factor);
    let at: usize = 0;
    const end = columns << 2;
    for (; at + 16 <= end; at += 16) {
      const normal = f32x4.mul(f32x4.sub(v128.load(x + at), mean4), factor4);
      v128.store(out + at, madd(normal, v128.load(<usize>p.gain + at), v128.load(<usize>p.bias + at)));
    }
    for (; at < end; at += 4) {
      const normal = (f32.load(x + at) - mean) * factor;
      f32.store(out + at, normal * f32.load(<usize>p.gain + at) + f32.load(<usize>p.bias + at));
    }
  }
}

/** Sum of x - shift, or of its square. */
// @ts-ignore: decorator
@inline
function sumAround(x: usize, count: usize, shift: f32, squared: bool): f32 {
  const shift4 = f32x4.splat(shift);
  let sum = f32x4.splat(0);
  let rest: f32 = 0;
  let at: usize = 0;
  for (; at + 16 <= count << 2; at += 16) {
    const y = f32x4.sub(v128.load(x + at), shift4);
    sum = squared ? madd(y, y, sum) : f32x4.add(sum, y);
  }
  for (; at < count << 2; at += 4) {
    const y = f32.load(x + at) - shift;
    rest += squared ? y * y : y;
  }
  return sumOfLanes(sum) + rest;
}

@unmanaged
class GatherParams {
  rows: f64;
  columns: f64;
  table: f64;
  indices: f64;
  out: f64;
}

export function gather(params: usize, task: i32, scratch: usize): void {
  const p = changetype<GatherParams>(params);
  const bytes = <usize>p.columns << 2;
  const last = min((task + 1) * ROWS, <i32>p.rows);
  for (let r = task * ROWS; r < last; r++) {
    const index = i32.load(<usize>p.indices + (<usize>r << 2));
    memory.copy(<usize>p.out + <usize>r * bytes, <usize>p.table + <usize>index * bytes, bytes);
  }
}
