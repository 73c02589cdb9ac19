import { concat, pad } from '../../../ops/copy';
import { add, multiply } from '../../../ops/map';
import type { Tensor } from '../../../tensor/tensor';
import { rowsAt } from '../../weights';
import { missed, splitKeys, weightsOf } from './grouped';
import type { LandmarkInputs, LandmarkParams } from './reference';

/** [b, queries, h, n]: the weights of some queries on all tokens, of landmarks 0. */
export function weights(
  { q, k, v, miss, gated }: LandmarkInputs<Tensor>,
  params: LandmarkParams,
  queries: readonly number[],
): Tensor {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [g, size] = [k.shape[2] as number, params.block + 1];
  const { scale = 1 / Math.sqrt(d) } = params;
  const parts = splitKeys(k, v, params.block);
  const gates = missed(miss, gated, size);
  const scales = q.runtime.tensor([scale], []);
  const rows = queries.map((query) => {
    const at = Math.floor(query / size);
    const own = multiply(rowsAt(q, [query]), scales).reshape([b, g, h / g, d]);
    const given = { q: own, ...parts.before(at), ...parts.own(at), ...gates(at) };
    const first = query - at * size;
    const { gated: far, near } = weightsOf(given, { first, count: 1 }, { ...params, scale }, {});
    const width = near.shape[3] as number;
    const nearby = pad(near, [...NONE, [at * size, n - at * size - width]]);
    if (!far) return nearby.reshape([b, 1, h, n]);
    const inBlocks = far.reshape([b, g, h / g, at, params.block]);
    const withLandmarks = pad(inBlocks, [...NONE, [0, 0], [0, 1]]).reshape([b, g, h / g, at * size]);
    return add(nearby, pad(withLandmarks, [...NONE, [0, n - at * size]])).reshape([b, 1, h, n]);
  });
  return concat(rows as Tensor<'f32'>[], 1);
}

const NONE: readonly (readonly [number, number])[] = [
  [0, 0],
  [0, 0],
  [0, 0],
];
