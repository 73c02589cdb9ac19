/** SALE of what was appended last to a cache: parts of a prompt by estimates, steps exactly. */
import { attention } from '../../../ops/attention';
import { readCache } from '../../../ops/cache';
import type { CacheLayer } from '../../../ops/cache/layer';
import { concat, pad } from '../../../ops/copy';
import { sizeOf } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import type { AttendOptions } from '../../continuation';
import { isDense, keptBlocks, type SaleParams } from './attend';

/** So many queries or fewer are a step: to estimate scores for them costs as much as the scores. */
const STEP = 16;

/** Rows choose each by themselves; means are those of a part's queries and of all keys so far. */
export function attendToCache(q: Tensor, keys: CacheLayer, params: SaleParams, options: AttendOptions): Tensor {
  const { scale, queryBlock, keyBlock } = params;
  const { counts, ...control } = options;
  const { lengths } = keys;
  if ((q.shape[1] as number) <= STEP || lengths.every((length) => isDense(length, params)))
    return attention(q, keys, { scale, ...options }).out;
  return q.runtime.scope(() => {
    const [, n, h] = q.shape as [number, number, number];
    const extents = [1, h, Math.ceil(n / queryBlock), Math.ceil(Math.max(...lengths) / keyBlock)];
    const rows = keys.rows.map(({ pages, length }, row) => {
      const count = counts[row] as number;
      if (count === 0) return q.runtime.tensor<'i32'>(new Int32Array(sizeOf(extents)), extents);
      const { k } = readCache(keys, pages, length, control);
      const kept = keptBlocks(q.slice(0, row, row + 1).slice(1, 0, count), k, params);
      return pad(
        kept,
        extents.map((extent, axis) => [0, extent - (kept.shape[axis] as number)]),
      );
    });
    const flags = (rows.length === 1 ? rows[0] : concat(rows, 0)) as Tensor<'i32'>;
    return attention(q, keys, { scale, selection: { flags, queryBlock, keyBlock }, ...options }).out;
  });
}
