/** Softmax of whole rows; tasks are runs of rows. */
import { exp } from '../../runtime/wasm/assembly/functions.as';
import { largestLane, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { ROWS, SoftmaxParams } from './params.generated.as';

export function softmax(params: usize, task: i32, scratch: usize): void {
  const p = changetype<SoftmaxParams>(params);
  const bytes = <usize>p.columns << 2;
  const last = min((task + 1) * ROWS, p.rows);
  for (let r = task * ROWS; r < last; r++) softmaxOf(p.x + <usize>r * bytes, p.out + <usize>r * bytes, bytes);
}

function softmaxOf(x: usize, out: usize, bytes: usize): void {
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
