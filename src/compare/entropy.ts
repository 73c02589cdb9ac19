/** How attention spreads over the keys: the entropy of the weights of a few queries. */
import type { Mask } from '../masks/mask';
import { type HostTensor, hostTensor, toFloat64 } from '../tensor/host';
import { dotAt } from '../tensor/wide';
import type { Entropy } from './comparison';

/** The entropy of weights [b, queries, h, m], each row up to a factor. Rows of zeros have no attention to spread: not counted. */
export function entropyOf({ data, shape }: HostTensor<'f64'>): Entropy {
  const [, , h, m] = shape as [number, number, number, number];
  const sums = Array.from({ length: h }, () => ({ bits: 0, rows: 0 }));
  for (let row = 0; row < data.length / m; row++) {
    const weights = data.subarray(row * m, (row + 1) * m);
    let total = 0;
    for (const weight of weights) total += weight;
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
  const d = q.shape[3] as number;
  const [rows, keys] = [toFloat64(q), toFloat64(k)];
  const weights = new Float64Array(b * queries.length * h * m);
  for (let from = 0; from < weights.length; from += m) {
    const row = weights.subarray(from, from + m);
    const at = from / m;
    const [head, batch] = [at % h, Math.floor(at / (queries.length * h))];
    const query = queries[Math.floor(at / h) % queries.length] as number;
    const place = { b, n, m, h, g, head, batch };
    for (let key = 0; key < m; key++) {
      const to = ((batch * m + key) * g + Math.floor((head * g) / h)) * d;
      row[key] = mask.sees(query, key, place) ? scale * dotAt(rows, at * d, keys, to, d) : Number.NEGATIVE_INFINITY;
    }
    let largest = Number.NEGATIVE_INFINITY;
    for (const score of row) largest = Math.max(largest, score);
    for (let key = 0; key < m; key++)
      row[key] = largest === Number.NEGATIVE_INFINITY ? 0 : Math.exp((row[key] as number) - largest);
  }
  return hostTensor(weights, [b, queries.length, h, m], 'f64');
}
