/** Kernels over whole rows; tasks are runs of rows. */
import { exp } from '../../runtime/wasm/assembly/functions.as';
import { largestLane, sumAround, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { ROWS, RowwiseParams, SOFTMAX, SUM } from './params.generated.as';

export function rowwise(params: usize, task: i32, scratch: usize): void {
  const p = changetype<RowwiseParams>(params);
  const operation = p.operation;
  const columns = <usize>p.columns;
  const last = min((task + 1) * ROWS, p.rows);
  for (let r = task * ROWS; r < last; r++) {
    const x = p.x + <usize>r * (columns << 2);
    if (operation == SOFTMAX) softmax(x, p.out + <usize>r * (columns << 2), columns << 2);
    else f32.store(p.out + (<usize>r << 2), operation == SUM ? sumAround(x, columns, 0, false) : largest(x, columns));
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
