import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { addTo, at, dot, rowOf, type Wide, zeros } from '../../reference';

export interface PruningInputs<T> {
  /** [b, n, h, d], the class token first. */
  readonly q: T;
  readonly k: T;
  readonly v: T;
  /** [b, n], i32: 1 for tokens that count. */
  readonly policy?: T | undefined;
}

interface PruningParams {
  readonly threshold: number;
  readonly epsilon: number;
}

/** Attention by plain loops, its scores of tokens, and which are kept; gradients through `out` only. */
export function reference(
  { q, k, v, policy }: PruningInputs<HostTensor>,
  { threshold, epsilon }: PruningParams,
  gradOut?: HostTensor,
): Record<string, Wide | HostTensor<'f64'>> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const e = v.shape[3] as number;
  const scale = 1 / Math.sqrt(d);
  const [queries, keys, values] = [q, k, v].map(toFloat64) as [Float64Array, Float64Array, Float64Array];
  const counts = policy && toFloat64(policy);
  const byOut = gradOut && toFloat64(gradOut);
  const [out, seen] = [zeros([b, n, h, e]), zeros([b, n, h])];
  const [gradQ, gradK, gradV] = [zeros(q.shape), zeros(k.shape), zeros(v.shape)];
  for (let row = 0; row < b * n * h; row++) {
    const [head, i, batch] = [row % h, Math.floor(row / h) % n, Math.floor(row / h / n)];
    const all = Array.from({ length: n }, (_, j) => (batch * n + j) * h + head);
    const scores = all.map((key) => scale * dot(rowOf(queries, row, d), rowOf(keys, key, d)));
    const most = Math.max(...scores);
    const counted = scores.map((s, j) => {
      const isSeen = i === j || !counts || counts[batch * n + j] === 1;
      return isSeen ? Math.exp(s - most) : 0;
    });
    const [part, whole] = counts ? [epsilon / n, epsilon] : [0, 0];
    const sum = counted.reduce((total, each) => total + each, whole);
    const weights = counted.map((each) => (each + part) / sum);
    const result = rowOf(out.data, row, e);
    for (const [j, key] of all.entries()) {
      addTo(result, rowOf(values, key, e), at(weights, j));
      if (i === 0) seen.data[key] = at(weights, j);
    }
    if (!byOut) continue;
    const by = rowOf(byOut, row, e);
    const mean = dot(by, result);
    for (const [j, key] of all.entries()) {
      addTo(rowOf(gradV.data, key, e), by, at(weights, j));
      const byScore = (scale * at(counted, j) * (dot(by, rowOf(values, key, e)) - mean)) / sum;
      addTo(rowOf(gradQ.data, row, d), rowOf(keys, key, d), byScore);
      addTo(rowOf(gradK.data, key, d), rowOf(queries, row, d), byScore);
    }
  }
  const [score, keep] = [zeros([b, n - 1]), zeros([b, n])];
  for (let token = 0; token < b * n; token++) {
    const [j, batch] = [token % n, Math.floor(token / n)];
    const norms = Array.from({ length: h }, (_, head) => Math.hypot(...rowOf(out.data, token * h + head, e)));
    const total = norms.reduce((sum, norm) => sum + norm, 1e-8);
    const own = norms.reduce((sum, norm, head) => sum + (norm / total) * at(seen.data, token * h + head), 0);
    if (j > 0) score.data[batch * (n - 1) + j - 1] = own;
    keep.data[token] = j === 0 || (own > threshold && (!counts || counts[token] === 1)) ? 1 : 0;
  }
  const results = { out, score, keep };
  return byOut ? { ...results, grad_q: gradQ, grad_k: gradK, grad_v: gradV } : results;
}
