/** The weights of some queries on each key, on the tensors' own runtime, for the entropy of a method's attention. */
import { concat, contiguous } from '../ops/copy';
import { multiply } from '../ops/map';
import { matmul } from '../ops/matmul';
import type { Tensor } from '../tensor/tensor';

/** The rows [b, queries, ...] of some queries of q [b, n, ...], f32. */
export function rowsAt(q: Tensor, queries: readonly number[]): Tensor {
  return concat(
    queries.map((query) => q.slice(1, query, query + 1) as Tensor<'f32'>),
    1,
  );
}

/** The products [b, queries, h, m] of the rows of queries, q [b, queries, h, f], and of keys, k [b, m, g, f]. */
export function pairProducts({ q, k }: Readonly<Record<'q' | 'k', Tensor>>): Tensor {
  const [b, rows, h, f] = q.shape as [number, number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const heads = contiguous(q)
    .reshape([b, rows, g, h / g, f])
    .permute([0, 2, 3, 1, 4]);
  const keys = contiguous(k).reshape([b, m, g, 1, f]).permute([0, 2, 3, 4, 1]);
  return matmul(heads, keys).reshape([b, h, rows, m]).permute([0, 2, 1, 3]);
}

/** [queries, 1, m]: a number for each of these queries and each of m keys. */
export function perPair(
  { runtime }: Tensor,
  queries: readonly number[],
  m: number,
  factor: (query: number, key: number) => number,
): Tensor {
  const values = queries.flatMap((query) => Array.from({ length: m }, (_, key) => factor(query, key)));
  return runtime.tensor(values, [queries.length, 1, m]);
}

/**
 * The weights [b, queries, h, m] of linear attention for `MethodSpec.weights`, from the features of the queries' rows and
 * of all keys; with `decay`, a rate for each head, they fall with the distance.
 */
export function linearWeights(
  features: Readonly<Record<'q' | 'k', Tensor>>,
  queries: readonly number[],
  { causal, decay }: { readonly causal: boolean; readonly decay?: readonly number[] | undefined },
): Tensor {
  const products = pairProducts(features);
  if (!causal) return products;
  const m = features.k.shape[1] as number;
  const rates = decay ?? [1];
  const factors = rates.map((rate) =>
    perPair(products, queries, m, (query, key) => (key > query ? 0 : rate ** (query - key))),
  );
  return multiply(products, concat(factors as Tensor<'f32'>[], 1));
}
