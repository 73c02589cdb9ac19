/** How attention spreads over the keys, in float64 on the host: the entropy of the weights of a few queries. */
import type { Mask } from '../masks/mask';
import { type HostTensor, hostTensor, toFloat64 } from '../tensor/host';
import type { Entropy } from './comparison';

/** Of weights [b, queries, h, m], up to a factor a row. Rows of nothing have no attention to spread: not counted. */
export function entropyOf({ data, shape }: HostTensor<'f64'>): Entropy {
  const [, , h, m] = shape as [number, number, number, number];
  const sums = Array.from({ length: h }, () => ({ bits: 0, rows: 0 }));
  for (let row = 0; row < data.length / m; row++) {
    const weights = data.subarray(row * m, (row + 1) * m);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    if (total === 0) continue;
    const sum = sums[row % h] as (typeof sums)[number];
    sum.rows++;
    for (const weight of weights) {
      if (weight > 0) sum.bits -= (weight / total) * Math.log2(weight / total);
    }
  }
  const heads = sums.map(({ bits, rows }) => (rows ? bits / rows : 0));
  return { mean: heads.reduce((sum, bits) => sum + bits, 0) / h, heads };
}

/** The softmax's weights of some queries of q [b, n, h, d] on k [b, m, g, d]. */
export function softmaxWeights(
  q: HostTensor,
  k: HostTensor,
  { mask, scale, queries }: { readonly mask: Mask; readonly scale: number; readonly queries: readonly number[] },
): HostTensor<'f64'> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const [rows, keys] = [toFloat64(q), toFloat64(k)];
  const weights = new Float64Array(b * queries.length * h * m);
  let at = 0;
  for (let batch = 0; batch < b; batch++) {
    for (const query of queries) {
      for (let head = 0; head < h; head++, at += m) {
        const place = { b, n, m, h, g, head, batch };
        const row = weights.subarray(at, at + m).fill(Number.NEGATIVE_INFINITY);
        for (let key = 0; key < m; key++) {
          if (!mask.sees(query, key, place)) continue;
          const from = ((batch * n + query) * h + head) * d;
          const to = ((batch * m + key) * g + Math.floor((head * g) / h)) * d;
          let score = 0;
          for (let c = 0; c < d; c++) score += (rows[from + c] as number) * (keys[to + c] as number);
          row[key] = scale * score;
        }
        const largest = row.reduce((max, score) => Math.max(max, score), Number.NEGATIVE_INFINITY);
        for (let key = 0; key < m; key++) {
          row[key] = largest === Number.NEGATIVE_INFINITY ? 0 : Math.exp((row[key] as number) - largest);
        }
      }
    }
  }
  return hostTensor(weights, [b, queries.length, h, m], 'f64');
}
