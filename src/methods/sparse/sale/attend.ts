/** SALE: blocks of keys by estimated scores beside those that are seen anyway, and exact attention to them. */
import { attention } from '../../../ops/attention';
import { estimatedBlocks } from '../../../ops/estimated-blocks';
import { map } from '../../../ops/map/map';
import { mean } from '../../../ops/reduce';
import type { Control } from '../../../runtime/backend';
import { stopGradient } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';
import { type Reserving, reserved, spansOf } from './reserved';

export interface SaleParams extends Reserving {
  /** A number for all heads, or one for each. */
  readonly threshold: number | readonly number[];
  readonly quantize: 'thread' | 'token' | 'none';
  /** With so many tokens or fewer attention is dense. */
  readonly denseBelow: number;
  readonly scale?: number | undefined;
}

/** Heads of smaller thresholds are dense. */
const LEAST_THRESHOLD = 1e-5;
/** In place of the logarithm of 0, so that everything is finite. */
const LOWEST = -1e30;

const isDenseHead = (threshold: number) => threshold < LEAST_THRESHOLD;

export function isDense(tokens: number, { threshold, denseBelow }: SaleParams): boolean {
  return tokens <= denseBelow || [threshold].flat().every(isDenseHead);
}

/** q [b,n,h,d], the last of the tokens of k [b,m,g,d] and v [b,m,g,e]. */
export function saleAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  params: SaleParams,
  control?: Control,
): Record<'out' | 'lse' | 'kept', Tensor> {
  const { scale, queryBlock, keyBlock } = params;
  const kept = keptBlocks(q, k, params);
  const selection = isDense(k.shape[1] as number, params) ? undefined : { flags: kept, queryBlock, keyBlock };
  return { ...attention(q, k, v, { scale, causal: true, selection, ...control }), kept };
}

/** [b, h, ceil(n / queryBlock), ceil(m / keyBlock)], i32: 1 for the blocks that are seen; no gradient passes through it. */
export function keptBlocks(q: Tensor, k: Tensor, params: SaleParams): Tensor<'i32'> {
  const { runtime } = q;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const m = k.shape[1] as number;
  const { threshold, quantize, queryBlock, keyBlock, scale = 1 / Math.sqrt(d) } = params;
  const keyBlocks = Math.ceil(m / keyBlock);
  const spans = spansOf(n, m, params);
  if (isDense(m, params)) {
    const flags = new Int32Array((spans.length / 2) * keyBlocks);
    for (let a = 0; a < spans.length / 2; a++)
      flags.fill(1, a * keyBlocks, a * keyBlocks + (spans[2 * a + 1] as number));
    const all = Array.from({ length: b * h }, () => [...flags]).flat();
    return runtime.tensor<'i32'>(Int32Array.from(all), [b, h, spans.length / 2, keyBlocks]);
  }
  return runtime.scope(() => {
    const [queries, keys] = [stopGradient(q), stopGradient(k)];
    const center = mean(queries, { axes: [1], keepDims: true });
    const rest = map((x, c, { scale }) => scale * (x - c), queries, center, { captured: { scale } });
    const smooth = map((x, c) => x - c, keys, mean(keys, { axes: [1], keepDims: true }));
    // Only the sums are wanted, so that a single column of any values does.
    const column = smooth.slice(3, 0, 1);
    const { lse } = attention(queries, smooth, column, { scale, mask: reserved(params) });
    const logs = Array.from({ length: h }, (_, head) => {
      const own = typeof threshold === 'number' ? threshold : (threshold[head] as number);
      return isDenseHead(own) ? LOWEST : Math.log(own);
    });
    const limits = map((sum, log) => sum + log, lse, runtime.tensor(logs, [h]));
    const scaled = map((c, { scale }) => scale * c, center.reshape([b, h, d]), { captured: { scale } });
    return estimatedBlocks(
      rest,
      scaled,
      smooth,
      limits,
      { spans: runtime.tensor<'i32'>(spans, [spans.length / 2, 2]), queryBlock, keyBlock, keyBlocks },
      { quantize },
    );
  });
}
