/**
 * Attention whose weights are relu(scale q k), within blocks of tokens; a weight serves at once, so nothing is kept.
 * A task is a block of one key/value head and takes all heads that share it, so that it alone writes its gradients.
 */
import { dot, madd } from '../../runtime/wasm/assembly/vector.as';
import { ReluAttentionParams } from './params.generated.as';

export function reluAttention(params: usize, task: i32, scratch: usize): void {
  const p = changetype<ReluAttentionParams>(params);
  const n = p.n;
  const h = p.h;
  const g = p.g;
  const block = p.block;
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
      memory.fill(p.gradK + key * dBytes, 0, dBytes);
      memory.fill(p.gradV + key * eBytes, 0, eBytes);
    }
  }
  for (let i = first; i < past; i++) {
    const last = p.causal ? i + 1 : past;
    for (let head = group * (h / g); head < (group + 1) * (h / g); head++) {
      const row = <usize>((batch * n + i) * h + head);
      const q = p.q + row * dBytes;
      const to = backward ? p.gradQ + row * dBytes : p.out + row * eBytes;
      const gradOut = p.gradOut + row * eBytes;
      memory.fill(to, 0, backward ? dBytes : eBytes);
      for (let j = first; j < last; j++) {
        const key = <usize>((batch * n + j) * g + group);
        const k = p.k + key * dBytes;
        const v = p.v + key * eBytes;
        const weight = scale * dot(q, k, dBytes);
        // NaN takes its course.
        if (weight <= 0) continue;
        if (!backward) {
          accumulate(to, v, weight, eBytes);
          continue;
        }
        const gradScore = scale * dot(gradOut, v, eBytes);
        accumulate(to, k, gradScore, dBytes);
        accumulate(p.gradK + key * dBytes, q, gradScore, dBytes);
        accumulate(p.gradV + key * eBytes, gradOut, weight, eBytes);
      }
    }
  }
}

/** sum += factor x. */
@inline
function accumulate(sum: usize, x: usize, factor: f32, bytes: usize): void {
  const factors = f32x4.splat(factor);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) v128.store(sum + at, madd(factors, v128.load(x + at), v128.load(sum + at)));
  for (; at < bytes; at += 4) f32.store(sum + at, f32.load(sum + at) + factor * f32.load(x + at));
}
