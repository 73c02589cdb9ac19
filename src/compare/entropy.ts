/** How attention spreads over the keys, in float64 on the host: the entropy of the weights of a few queries. */
import type { Mask } from '../masks/mask';
import { pairWeights } from '../methods/weights';
import type { HostTensor } from '../tensor/host';
import type { Entropy } from './comparison';

/** The entropy of weights [b, queries, h, m], each row up to a factor. Rows of zeros have no attention to spread: not counted. */
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

/** The softmax's weights of some of n queries, whose rows are q [b, queries, h, d], on k [b, m, g, d]. */
export function softmaxWeights(
  { q, k }: Readonly<Record<'q' | 'k', HostTensor>>,
  {
    mask,
    scale,
    queries,
    n,
  }: { readonly mask: Mask; readonly scale: number; readonly queries: readonly number[]; readonly n: number },
): HostTensor<'f64'> {
  const h = q.shape[2] as number;
  const [b, m, g] = k.shape as [number, number, number];
  const weights = pairWeights({ q, k }, queries, (dot, { query, key, ...place }) =>
    mask.sees(query, key, { b, n, m, h, g, ...place }) ? scale * dot : Number.NEGATIVE_INFINITY,
  );
  for (let at = 0; at < weights.data.length; at += m) {
    const row = weights.data.subarray(at, at + m);
    const largest = row.reduce((max, score) => Math.max(max, score), Number.NEGATIVE_INFINITY);
    row.forEach((score, key) => {
      row[key] = largest === Number.NEGATIVE_INFINITY ? 0 : Math.exp(score - largest);
    });
  }
  return weights;
}
