/** DeltaLLM: keys that are held while they change little, beside exact ones in a window and at the start. */
import { band } from '../../../masks/band';
import { blocks } from '../../../masks/blocks';
import { not, or } from '../../../masks/combine';
import { sinks } from '../../../masks/first';
import type { Mask } from '../../../masks/mask';
import { attention } from '../../../ops/attention';
import { readCache } from '../../../ops/cache';
import type { CacheLayer } from '../../../ops/cache/layer';
import { concat, pad } from '../../../ops/copy';
import { heldRows } from '../../../ops/held-rows';
import { mergeStates } from '../../../ops/merge-states';
import type { Control } from '../../../runtime/backend';
import { stopGradient } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';
import type { AttendOptions } from '../../continuation';

export interface DeltaParams {
  /** A number for all key heads, or one for each. */
  readonly threshold: number | readonly number[];
  readonly windowShare: number;
  readonly window: 'block' | 'sliding';
  readonly sink: number;
  readonly scale?: number | undefined;
}

/** So many queries or fewer are a step, whose window is that of the last keys. */
const STEP = 16;

/** Keys of the window among n tokens. */
export const windowOf = (n: number, { windowShare }: Pick<DeltaParams, 'windowShare'>) => Math.round(windowShare * n);

/** The pairs whose scores are exact, beside causality; undefined for none. */
function nearby({ window, sink }: DeltaParams, size: number): Mask | undefined {
  const near: Mask | undefined = window === 'sliding' ? band(size, 0) : size > 0 ? blocks(size, band(0, 0)) : undefined;
  const first = sink > 0 ? sinks(sink) : undefined;
  return near && first ? or(near, first) : (near ?? first);
}

/** q [b,n,h,d], the last of the tokens of k [b,m,g,d] and v [b,m,g,e]. */
function deltaAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  params: DeltaParams,
  near: Mask | undefined,
  control?: Control,
): Record<'out' | 'sparsity', Tensor> {
  const { runtime } = q;
  const { threshold, scale } = params;
  const heads = k.shape[2] as number;
  const own = Array.from({ length: heads }, (_, at) => (typeof threshold === 'number' ? threshold : threshold[at]));
  const { held, share } = heldRows(stopGradient(k), runtime.tensor(own as number[], [heads]));
  const settings = { scale, causal: true, ...control };
  if (!near) return { out: attention(q, held, v, settings).out, sparsity: share };
  const far = attention(q, held, v, { ...settings, mask: not(near) });
  const { out } = mergeStates([far, attention(q, k, v, { ...settings, mask: near })]);
  return { out, sparsity: share };
}

export const deltaForward = (q: Tensor, k: Tensor, v: Tensor, params: DeltaParams, control?: Control) =>
  deltaAttention(q, k, v, params, nearby(params, windowOf(k.shape[1] as number, params)), control);

/** Row by row, from all keys: differences follow from where each row begins. */
export function deltaAttendToCache(q: Tensor, keys: CacheLayer, params: DeltaParams, options: AttendOptions): Tensor {
  const { counts, ...control } = options;
  const [, n, h] = q.shape as [number, number, number];
  const { e } = keys.layout;
  return q.runtime.scope(() => {
    const rows = keys.rows.map(({ pages, length }, row) => {
      const count = counts[row] as number;
      if (count === 0) return q.runtime.tensor(new Float32Array(n * h * e), [1, n, h, e]);
      const own = q.slice(0, row, row + 1).slice(1, 0, count);
      const { k, v } = readCache(keys, pages, length, control);
      const size = windowOf(length, params);
      const near = n <= STEP ? nearby({ ...params, window: 'sliding' }, Math.max(0, size - 1)) : nearby(params, size);
      const { out } = deltaAttention(own, k, v, params, near, control);
      return pad(out as Tensor<'f32'>, [
        [0, 0],
        [0, n - count],
        [0, 0],
        [0, 0],
      ]);
    });
    return rows.length === 1 ? (rows[0] as Tensor) : concat(rows, 0);
  });
}
