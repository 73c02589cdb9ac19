/**
 * Attention whose weights are relu(scale q k), within blocks of tokens; a weight serves at once, so nothing is kept.
 * A task is a block of one key/value head and takes all heads that share it, so that it alone writes its gradients.
 */
import { dot, madd } from '../../runtime/wasm/assembly/vector.as';

@unmanaged
class ReluAttentionParams {
  n: f64;
  h: f64;
  g: f64;
  d: f64;
  e: f64;
  block: f64;
  causal: f64;
  scale: f64;
  q: f64;
  k: f64;
  v: f64;
  out: f64;
  /** Of the backward pass. */
  gradOut: f64;
  gradQ: f64;
  gradK: f64;
  gradV: f64;
}

export function reluAttention(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ReluAttentionParams>(params);
  const n = <i32>p.n;
  const h = <i32>p.h;
  const g = <i32>p.g;
  const block = <i32>p.block;
  const blocks = (n + block - 1) / block;
  const batch = task / blocks / g;
  const group = (task / blocks) % g;
  const first = (task % blocks) * block;
  const past = min(n, first + block);
  const backward = p.gradOut != 0;
  const dBytes = <usize>p.d << 2;
  const eBytes = <usize>p.e << 2;
  const scale = <f32>p.scale;
  if (backward) {
    for (let j = first; j < past; j++) {
      const key = <usize>((batch * n + j) * g + group);
      memory.fill(<usize>p.gradK + key * dBytes, 0, dBytes);
      memory.fill(<usize>p.gradV + key * eBytes, 0, eBytes);
    }
  }
  for (let i = first; i < past; i++) {
    const last = p.causal != 0 ? i + 1 : past;
    for (let head = group * (h / g); head < (group + 1) * (h / g); head++) {
      const row = <usize>((batch * n + i) * h + head);
      const q = <usize>p.q + row * dBytes;
      const to = backward ? <usize>p.gradQ + row * dBytes : <usize>p.out + row * eBytes;
      const gradOut = <usize>p.gradOut + row * eBytes;
      memory.fill(to, 0, backward ? dBytes : eBytes);
      for (let j = first; j < last; j++) {
        const key = <usize>((batch * n + j) * g + group);
        const k = <usize>p.k + key * dBytes;
        const v = <usize>p.v + key * eBytes;
        const weight = scale * dot(q, k, dBytes);
        // NaN takes its course.
        if (weight <= 0) continue;
        if (!backward) {
          accumulate(to, v, weight, eBytes);
          continue;
        }
        const byScore = scale * dot(gradOut, v, eBytes);
        accumulate(to, k, byScore, dBytes);
        accumulate(<usize>p.gradK + key * dBytes, q, byScore, dBytes);
        accumulate(<usize>p.gradV + key * eBytes, gradOut, weight, eBytes);
      }
    }
  }
}

/** sum += factor x. */
// @ts-ignore: decorator
@inline
function accumulate(sum: usize, x: usize, factor: f32, bytes: usize): void {
  const factors = f32x4.splat(factor);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) v128.store(sum + at, madd(factors, v128.load(x + at), v128.load(sum + at)));
  for (; at < bytes; at += 4) f32.store(sum + at, f32.load(sum + at) + factor * f32.load(x + at));
}
