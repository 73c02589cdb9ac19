/** Softmax attention as plain loops in float64, straight from the definition. */
import type { HostTensor } from '../../tensor/host';
import { toFloat64 } from '../../tensor/host';

/**
 * softmax(scale * q k^T, over the keys j with sees(i, j, head, batch)) v for q [b,n,h,d], k [b,m,g,d], v [b,m,g,e].
 * Returns out [b,n,h,e] and lse [b,n,h]; a query that sees no key gives zeros and -Infinity.
 */
export function softmaxAttention(
  inputs: { readonly q: HostTensor; readonly k: HostTensor; readonly v: HostTensor },
  scale: number,
  sees: (i: number, j: number, head: number, batch: number) => boolean,
): { out: HostTensor<'f64'>; lse: HostTensor<'f64'> } {
  const [b, n, h, d] = inputs.q.shape as [number, number, number, number];
  const [, m, g, e] = inputs.v.shape as [number, number, number, number];
  const [q, k, v] = [toFloat64(inputs.q), toFloat64(inputs.k), toFloat64(inputs.v)];
  const out = new Float64Array(b * n * h * e);
  const lse = new Float64Array(b * n * h).fill(Number.NEGATIVE_INFINITY);

  for (let batch = 0; batch < b; batch++) {
    for (let head = 0; head < h; head++) {
      const group = Math.floor((head * g) / h);
      for (let i = 0; i < n; i++) {
        const row = (batch * n + i) * h + head;
        const keys: number[] = [];
        const scores: number[] = [];
        for (let j = 0; j < m; j++) {
          if (!sees(i, j, head, batch)) continue;
          const key = (batch * m + j) * g + group;
          let dot = 0;
          for (let c = 0; c < d; c++) dot += (q[row * d + c] as number) * (k[key * d + c] as number);
          keys.push(key);
          scores.push(scale * dot);
        }
        if (keys.length === 0) continue;
        const largest = scores.reduce((a, s) => Math.max(a, s), Number.NEGATIVE_INFINITY);
        const weights = scores.map((score) => Math.exp(score - largest));
        const sum = weights.reduce((a, w) => a + w, 0);
        lse[row] = largest + Math.log(sum);
        weights.forEach((weight, at) => {
          const key = keys[at] as number;
          for (let c = 0; c < e; c++)
            out[row * e + c] = (out[row * e + c] as number) + (weight / sum) * (v[key * e + c] as number);
        });
      }
    }
  }
  return { out: { dtype: 'f64', shape: [b, n, h, e], data: out }, lse: { dtype: 'f64', shape: [b, n, h], data: lse } };
}
