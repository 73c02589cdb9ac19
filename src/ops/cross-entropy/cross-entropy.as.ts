/** Losses of rows of logits, their mean, and the gradient; tasks are runs of rows. */
import { log } from '../../runtime/wasm/assembly/functions.as';
import { largest, sumOf, weight, weightSum } from '../../runtime/wasm/assembly/rows.as';
import { get, put } from '../../runtime/wasm/assembly/vector.as';
import { CrossEntropyParams } from './params.generated.as';

export function crossEntropy(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CrossEntropyParams>(params);
  const bytes = <usize>p.classes << 2;
  const smoothing = <f32>p.smoothing;
  const last = min((task + 1) * p.together, p.rows);
  for (let r = task * p.together; r < last; r++) {
    const x = p.logits + <usize>r * bytes;
    const at = <usize>r << 2;
    const most = largest(x, bytes);
    const sum = weightSum(x, bytes, most);
    // No weight at all: of NaN, Infinity or -Infinity alone.
    const lse: f32 = sum > 0 ? most + f32x4.extract_lane(log(f32x4.splat(sum)), 0) : NaN;
    f32.store(p.lse + at, lse);
    let loss: f32 = 0;
    const target = i32.load(p.targets + at);
    if (target != p.ignore) {
      loss = lse - (1 - smoothing) * f32.load(x + (<usize>classOf(p, target) << 2));
      if (smoothing > 0) loss -= smoothing * (sumOf(x, bytes) / <f32>p.classes);
    }
    f32.store(p.losses + at, loss);
  }
}

export function crossEntropyGradient(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CrossEntropyParams>(params);
  const bytes = <usize>p.classes << 2;
  const smoothing = <f32>p.smoothing;
  const last = min((task + 1) * p.together, p.rows);
  for (let r = task * p.together; r < last; r++) {
    const x = p.logits + <usize>r * bytes;
    const to = p.gradLogits + <usize>r * bytes;
    const target = i32.load(p.targets + (<usize>r << 2));
    if (target == p.ignore) {
      memory.fill(to, 0, bytes);
      continue;
    }
    const lse1 = f32.load(p.lse + (<usize>r << 2));
    const lse = f32x4.splat(lse1);
    // Weights know no NaN.
    const grad = lse1 == lse1 ? f32.load(p.gradLosses + (<usize>r << 2)) : NaN;
    const grad4 = f32x4.splat(grad);
    const share = f32x4.splat(smoothing / <f32>p.classes);
    let at: usize = 0;
    for (; at + 16 <= bytes; at += 16) {
      v128.store(to + at, f32x4.mul(f32x4.sub(weight(v128.load(x + at), lse), share), grad4));
    }
    for (; at < bytes; at += 4) put(to + at, f32x4.mul(f32x4.sub(weight(get(x + at, false), lse), share), grad4), false);
    const place = to + (<usize>classOf(p, target) << 2);
    f32.store(place, f32.load(place) - (1 - smoothing) * grad);
  }
}

/** One task: in float64, in the order of the rows. */
export function meanLoss(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CrossEntropyParams>(params);
  let sum: f64 = 0;
  let count: i32 = 0;
  for (let at: usize = 0; at < <usize>p.rows << 2; at += 4) {
    if (i32.load(p.targets + at) == p.ignore) continue;
    sum += <f64>f32.load(p.losses + at);
    count++;
  }
  const share: f64 = count > 0 ? 1 / <f64>count : 0;
  f32.store(p.share, <f32>share);
  f32.store(p.out, <f32>(sum * share));
}

/** Those outside are a fault that the host tells. */
@inline
function classOf(p: CrossEntropyParams, target: i32): i32 {
  return max(0, min(p.classes - 1, target));
}
