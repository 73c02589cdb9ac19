/** The weights of queries on keys, in float64 on the host, for the entropy of a method's attention. */
import { type HostTensor, hostTensor, toFloat64 } from '../tensor/host';
import { dotAt } from '../tensor/wide';

/** A query and a key of one head. */
interface Pair {
  readonly query: number;
  readonly key: number;
  readonly head: number;
  readonly batch: number;
}

/**
 * The weights [b, queries, h, m] of some queries, q [b, queries, h, d], on each key of k [b, m, g, d]: what `weigh` makes of
 * their dot products.
 */
export function pairWeights(
  { q, k }: Readonly<Record<'q' | 'k', HostTensor>>,
  queries: readonly number[],
  weigh: (dot: number, pair: Pair) => number,
): HostTensor<'f64'> {
  const [b, , h, d] = q.shape as [number, number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const [rows, keys] = [toFloat64(q), toFloat64(k)];
  const weights = new Float64Array(b * queries.length * h * m);
  let [at, from] = [0, 0];
  for (let batch = 0; batch < b; batch++) {
    for (const query of queries) {
      for (let head = 0; head < h; head++, from += d) {
        for (let key = 0; key < m; key++, at++) {
          const to = ((batch * m + key) * g + Math.floor((head * g) / h)) * d;
          weights[at] = weigh(dotAt(rows, from, keys, to, d), { query, key, head, batch });
        }
      }
    }
  }
  return hostTensor(weights, [b, queries.length, h, m], 'f64');
}

/**
 * The weights of linear attention over features, decayed by the distance, for `MethodSpec.weights`; undefined where a weight
 * is below 0.
 */
export function linearWeights(
  features: Readonly<Record<'q' | 'k', HostTensor>>,
  queries: readonly number[],
  { causal, decay }: { readonly causal: boolean; readonly decay?: readonly number[] | undefined },
): HostTensor<'f64'> | undefined {
  const weights = pairWeights(features, queries, (dot, { query, key, head }) => {
    if (!causal) return dot;
    return key > query ? 0 : dot * (decay?.[head] ?? 1) ** (query - key);
  });
  return weights.data.some((weight) => weight < 0) ? undefined : weights;
}
