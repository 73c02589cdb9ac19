/** Retrieval of the keys with the largest products by ops, for a GPU: all keys are scored, and the best ones gathered. */
import { apply } from '../../expressions/expression';
import type { Control } from '../../runtime/backend';
import type { Tensor } from '../../tensor/tensor';
import { attention } from '../attention';
import { contiguous } from '../copy';
import { gather } from '../gather';
import { mapOne } from '../map/core';
import { ElementwiseFunction, element, once } from '../map/function';
import { matmul } from '../matmul';
import { mergeStates } from '../merge-states';
import { topK } from '../top-k';

interface Flat {
  readonly topK: number;
  readonly first: number;
  /** The keys from `first` to before `limit` are retrieved, all others seen. */
  readonly limit: number;
  readonly scale: number;
}

/** q [b, n, h, d], k [b, m, g, d], v [b, m, g, e], every key in the past of all queries, and more than `topK` to retrieve from. */
export function retrieveFlat(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { topK: count, first, limit, scale }: Flat,
  control: Control,
) {
  const { runtime } = q;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  return runtime.scope(() => {
    const shared = (h / g) * n;
    const byHead = (x: Tensor) => contiguous((x as Tensor<'f32'>).permute([0, 2, 1, 3]));
    const queries = byHead(q).reshape([b, g, shared, d]);
    const keys = byHead(k.slice(1, first, limit));
    const products = matmul(queries, keys, { transposeB: true, ...control });
    const { indices } = topK(products, count, { largest: scale >= 0, ...control });
    // Places among the keys of all heads.
    const starts = Int32Array.from({ length: b * g }, (_, head) => head * (limit - first));
    const begins = runtime.tensor(starts, [b * g, 1]);
    const places = mapOne(plus(), { indices: indices.reshape([b * g, shared * count]), begins }).reshape([-1]);
    const picked = (x: Tensor, columns: number) =>
      gather(x.reshape([-1, columns]), places, control).reshape([-1, count, 1, columns]);
    const rows = b * g * shared;
    const found = attention(
      queries.reshape([rows, 1, 1, d]),
      picked(keys, d),
      picked(byHead(v.slice(1, first, limit)), e),
      { scale, causal: false, ...control },
    );
    const ends: readonly (readonly [number, number])[] = [
      [0, first],
      [limit, m],
    ];
    const near = ends
      .filter(([from, past]) => from < past)
      .map(([from, past]) =>
        attention(q, k.slice(1, from, past), v.slice(1, from, past), { scale, causal: false, ...control }),
      );
    const toHeads = (x: Tensor, columns: number) =>
      contiguous(x.reshape([b, h, n, columns]).permute([0, 2, 1, 3]) as Tensor<'f32'>);
    const retrieved = { out: toHeads(found.out, e), lse: toHeads(found.lse, 1).reshape([b, n, h]) };
    const { out, lse } = mergeStates([...near, retrieved] as { out: Tensor<'f32'>; lse: Tensor<'f32'> }[], control);
    const scanned = runtime.tensor(new Int32Array(b * h * n).fill(limit - first), [b, h, n], 'i32');
    return { out, lse, scanned };
  });
}

const plus = once(() => new ElementwiseFunction('retrieval', 2, [apply('add', element(0), element(1))]));
