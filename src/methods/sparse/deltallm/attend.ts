/** DeltaLLM: keys that are held while they change little, beside exact ones in a window and at the start. */
import { band } from '../../../masks/band';
import { blocks } from '../../../masks/blocks';
import { not, or } from '../../../masks/combine';
import { sinks } from '../../../masks/first';
import type { Mask } from '../../../masks/mask';
import { attention } from '../../../ops/attention';
import type { CacheLayer } from '../../../ops/cache/layer';
import { concat, pad } from '../../../ops/copy';
import { heldRows } from '../../../ops/held-rows';
import { mergeStates } from '../../../ops/merge-states';
import type { Control } from '../../../runtime/backend';
import type { Runtime } from '../../../runtime/runtime';
import { stopGradient } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';
import type { AttendOptions } from '../../continuation';
import type { HeldMemory } from './memory';

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

function thresholdsOf(runtime: Runtime, { threshold }: DeltaParams, heads: number): Tensor {
  const own = Array.from({ length: heads }, (_, at) => (typeof threshold === 'number' ? threshold : threshold[at]));
  return runtime.tensor(own as number[], [heads]);
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
  const { held, share } = heldRows(stopGradient(k), thresholdsOf(q.runtime, params, k.shape[2] as number));
  const settings = { scale: params.scale, causal: true, ...control };
  if (!near) return { out: attention(q, held, v, settings).out, sparsity: share };
  const far = attention(q, held, v, { ...settings, mask: not(near) });
  const { out } = mergeStates([far, attention(q, k, v, { ...settings, mask: near })]);
  return { out, sparsity: share };
}

export const deltaForward = (q: Tensor, k: Tensor, v: Tensor, params: DeltaParams, control?: Control) =>
  deltaAttention(q, k, v, params, nearby(params, windowOf(k.shape[1] as number, params)), control);

/** Row by row, each with a window of its own length, from keys as they came and as `memory` holds them. */
export function deltaAttendToCache(
  q: Tensor,
  keys: CacheLayer,
  params: DeltaParams,
  options: AttendOptions,
  memory: HeldMemory,
): Tensor {
  const { counts, ...control } = options;
  const [, n, h] = q.shape as [number, number, number];
  const { e } = keys.layout;
  return q.runtime.scope(() => {
    const rows = memory.rowsOf(keys, thresholdsOf(q.runtime, params, keys.layout.heads)).map(({ exact, held }, row) => {
      const count = counts[row] as number;
      if (count === 0) return q.runtime.tensor(new Float32Array(n * h * e), [1, n, h, e]);
      const own = q.slice(0, row, row + 1).slice(1, 0, count);
      const length = keys.lengths[row] as number;
      const size = windowOf(length, params);
      const near = n <= STEP ? nearby({ ...params, window: 'sliding' }, Math.max(0, size - 1)) : nearby(params, size);
      const settings = { scale: params.scale, ...control };
      const parts = near
        ? [attention(own, held, { ...settings, mask: not(near) }), attention(own, exact, { ...settings, mask: near })]
        : [attention(own, held, settings)];
      const { out } = parts.length === 1 ? (parts[0] as (typeof parts)[number]) : mergeStates(parts);
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
