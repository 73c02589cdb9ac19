/** Kernels over whole rows; tasks are runs of rows. */
import { exp } from './functions';
import { largestLane, madd, sumOfLanes } from './vector';

/** Rows of one task. */
const ROWS: i32 = 16;

/** Operations, as the host numbers them. */
const SOFTMAX: i32 = 0;
const SUM: i32 = 1;

@unmanaged
class RowwiseParams {
  operation: f64;
  rows: f64;
  columns: f64;
  x: f64;
  out: f64;
}

export function rowwise(params: usize, task: i32, scratch: usize): void {
  const p = changetype<RowwiseParams>(params);
  const operation = <i32>p.operation;
  const columns = <usize>p.columns;
  const last = min((task + 1) * ROWS, <i32>p.rows);
  for (let r = task * ROWS; r < last; r++) {
    const x = <usize>p.x + <usize>r * (columns << 2);
    if (operation == SOFTMAX) softmax(x, <usize>p.out + <usize>r * (columns << 2), columns << 2);
    else f32.store(<usize>p.out + (<usize>r << 2), operation == SUM ? sumAround(x, columns, 0, false) : largest(x, columns));
  }
}

function softmax(x: usize, out: usize, bytes: usize): void {
  const shift = f32x4.splat(largest(x, bytes >> 2));
  let sums = f32x4.splat(0);
  let rest: f32 = 0;
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) {
    const weight = exp(f32x4.sub(v128.load(x + at), shift));
    v128.store(out + at, weight);
    sums = f32x4.add(sums, weight);
  }
  for (; at < bytes; at += 4) {
    const weight = f32x4.extract_lane(exp(f32x4.sub(v128.load32_splat(x + at), shift)), 0);
    f32.store(out + at, weight);
    rest += weight;
  }
  const factor: f32 = 1 / (sumOfLanes(sums) + rest);
  for (at = 0; at + 16 <= bytes; at += 16) v128.store(out + at, f32x4.mul(v128.load(out + at), f32x4.splat(factor)));
  for (; at < bytes; at += 4) f32.store(out + at, f32.load(out + at) * factor);
}

/** NaN if one is NaN. */
function largest(x: usize, count: usize): f32 {
  let found = f32x4.splat(-Infinity);
  let at: usize = 0;
  for (; at + 16 <= count << 2; at += 16) found = f32x4.max(found, v128.load(x + at));
  for (; at < count << 2; at += 4) found = f32x4.max(found, v128.load32_splat(x + at));
  return largestLane(found);
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
