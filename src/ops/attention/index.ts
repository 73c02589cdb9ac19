/**
 * Exact softmax attention in O(n) memory.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension.
 */
import type { Control } from '../../runtime/backend';
import type { Op } from '../../runtime/op';
import { partsOf, withTensors } from '../../scores/score';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { CacheLayer } from '../cache/layer';
import { presentOf } from '../check';
import { compute, type Values } from '../compute';
import { boolean, type Computed, defineComposite, f32, floats, group, type Members, type OptionsOf } from '../define';
import { zeros } from '../float32';
import { checkHeads, gradients, largestHead, STRIDED, tokens } from '../heads';
import { planAttentionBackward } from './backward/cpu';
import type { AttentionBackwardCall, AttentionCall } from './call';
import { type CachedCall, planCached } from './decode/cached';
import {
  type Attended,
  attendedResults,
  attendToCache,
  cachedSettings,
  cacheLayer,
  checkCachedHeads,
  type Places,
} from './decode/to-cache';
import { planAttention } from './forward/cpu';
import { backwardKernels, decodeKernels, kernels } from './params.generated';
import { selectionOf } from './selection';
import { resolve, type Settings, score, selectionOfCache, settings } from './settings';

export { bandOf, type DeferredMask } from './settings';

const forward: Op<AttentionCall> = {
  name: 'attention',
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: planAttention,
  native: 'attention',
  webgpu: async () => (await import('./forward/webgpu')).planAttention,
};

export const backward: Op<AttentionBackwardCall> = {
  name: 'attentionBackward',
  reference: async () => (await import('./reference')).backward,
  kernels: backwardKernels,
  cpu: planAttentionBackward,
  native: 'attentionBackward',
  webgpu: async () => (await import('./backward/webgpu')).planAttentionBackward,
};

const cached: Op<CachedCall> = {
  name: 'attention',
  reference: async () => (await import('./reference')).cached,
  kernels: decodeKernels,
  cpu: planCached,
  webgpu: async () => (await import('./decode/webgpu/cached')).planCached,
};

export const attentionOp = defineComposite({
  name: 'attention',
  inputs: tokens,
  options: settings,
  results: attendedResults,
  operations: '2 b n h m d + 2 b n h m e',
  largest: largestHead,
  fits: checkHeads,
  run({ q, k, v, scale, ...settings }, options, extents, specs): AttentionResult {
    const { score } = settings;
    const { captured, known, maskIn } = resolve(settings, extents);
    const call = (results: AttentionResult, values: Values): AttentionCall => ({
      q,
      k,
      v,
      ...results,
      scale,
      mask: maskIn(values),
      score,
    });
    const derivative = derivativeOf(scale, settings, Object.keys(known), Object.keys(captured));
    return compute(forward, { q, k, v, ...captured }, specs(), call, options, { known, derivative });
  },
});

/** @internal */
export const attentionBackwardOp = defineComposite({
  name: 'attentionBackward',
  inputs: {
    ...tokens,
    gradients: group(
      {
        /** As the forward pass returned them. */
        out: floats('b n h e', STRIDED),
        lse: f32('b n h'),
        /** [b, n, h, e]. */
        gradOut: floats('b n h e', STRIDED),
      },
      {
        /** [b, n, h], contiguous; default: the loss does not depend on lse. */
        gradLse: f32('b n h'),
      },
    ),
  },
  options: {
    ...settings,
    /** Whether the gradients with respect to the arrays and tensors that `score` captured are wanted too. Default false. */
    captured: boolean(false),
  },
  results: gradients,
  operations: '6 b n h m d + 4 b n h m e',
  largest: largestHead,
  fits: checkHeads,
  run(
    { q, k, v, gradients, scale, captured: isWanted, ...settings },
    options,
    extents,
    specs,
  ): AttentionBackwardResult {
    const { score } = settings;
    const { captured, known, maskIn } = resolve(settings, extents);
    const parts = isWanted && score ? partsOf(score) : [];
    const elements = parts.reduce((sum, { length }) => sum + length, 0);
    const results = {
      ...specs(),
      ...(parts.length > 0 && { gradTables: { shape: [elements], dtype: 'f32' } as const }),
    };
    const inputs = { q, k, v, ...presentOf(gradients), ...captured };
    const call = (grads: object, values: Values) =>
      ({ q, k, v, ...gradients, ...grads, scale, mask: maskIn(values), score }) as AttentionBackwardCall;
    const computed: object = compute(backward, inputs, results, call, options, { known });
    const { gradTables, ...grads } = computed as Omit<AttentionBackwardResult, 'gradCaptured'> & {
      readonly gradTables?: Tensor<'f32'>;
    };
    const gradCaptured: Record<string, Tensor<'f32'>> = {};
    for (const { name, tensor, first, length } of parts) {
      using flat = (gradTables as Tensor<'f32'>).slice(0, first, first + length);
      gradCaptured[name] = flat.reshape(tensor ? tensor.shape : [length]);
    }
    gradTables?.dispose();
    return { ...grads, gradCaptured };
  },
});

/** @internal */
export const attentionToCacheOp = defineComposite({
  name: 'attention',
  inputs: { q: tokens.q, cache: cacheLayer },
  options: {
    ...cachedSettings,
    /** As for tensors, with a row as a batch; blocks are counted as if all rows were as long as the longest. */
    selection: selectionOfCache,
    score,
  },
  results: attendedResults,
  fits: checkCachedHeads,
  run: (given, options, _, specs): AttentionResult =>
    attendToCache(given, options, specs, {
      op: cached,
      readsPagesOnGpu: true,
      inputs: {},
      callOf: (call) => call,
      attend: (q, k, v, _, options) => attentionOp({ q, k, v }, options),
    }),
});

/** Which scores count, and what they are scaled by: the same for the forward and the backward pass. */
export interface AttentionSettings extends OptionsOf<typeof attentionOp> {}

export interface AttentionOptions extends AttentionSettings, Places {}
export interface CachedAttentionOptions extends OptionsOf<typeof attentionToCacheOp>, Places {}
export interface AttentionBackwardOptions extends OptionsOf<typeof attentionBackwardOp>, Control {}

export interface AttentionResult extends Attended {}

/** What the forward pass returned, and a loss's gradients with respect to it. */
export interface AttentionGradients extends Members<typeof attentionBackwardOp.declaration.inputs.gradients> {}

/** Each of the shape and dtype of its input. */
export interface AttentionBackwardResult extends Computed<typeof gradients> {
  /**
   * By the arrays that `score` captured, flat, and the tensors, in their shapes, by name; empty unless asked for. Of those
   * of one name, which composed modifiers may have, the second is `name_2`, and so on.
   */
  readonly gradCaptured: Readonly<Record<string, Tensor<'f32'>>>;
}

/**
 * softmax(scale * q k^T, over the keys each query may see) v.
 *
 * q [b,n,h,d], k [b,m,g,d], v [b,m,g,e]; g divides h and query head i uses key/value head floor(i * g / h); d and e
 * are from 1 to 256; f32, f16 or bf16 storage, f32 arithmetic. Never holds n x m numbers, skips the tiles that no
 * query sees. A query that sees no key, or whose scores all become -Infinity by the modifier, gives zeros and
 * lse = -Infinity. A block of a selection that there is not is a fault of the results.
 *
 * @throws {ShapeError} ranks or extents that do not fit, heads that do not divide
 * @throws {ParameterError} an unknown or ill-typed option
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options?: AttentionOptions): AttentionResult;
/**
 * Attention of the last tokens of each row to what a layer of a key-value cache holds of them, their own keys and values
 * among it: q [rows,n,h,d], of which the first `counts[r]` are the last tokens of row r; what is behind them gives zeros and
 * lse = -Infinity. Causal unless said otherwise, within the layer's window; masks and scores see each row by itself, with its
 * queries from 0 to counts[r] - 1 and its keys at their absolute positions. Few queries read keys and values where they lie,
 * under a selection those of the chosen blocks only.
 * Has no derivative.
 *
 * @throws {ShapeError} ranks, extents or heads that do not fit
 * @throws {ParameterError} counts that do not fit, tokens that see evicted ones, a cache of another runtime
 */
export function attention(q: Tensor, cache: CacheLayer, options?: CachedAttentionOptions): AttentionResult;
export function attention(
  q: Tensor,
  k: Tensor | CacheLayer,
  v?: Tensor | CachedAttentionOptions,
  options?: AttentionOptions,
): AttentionResult {
  return k instanceof CacheLayer
    ? attentionToCacheOp({ q, cache: k }, v as CachedAttentionOptions)
    : attentionOp({ q, k, v: v as Tensor }, options);
}

/** `known` and `captured` are the names of inputs that mask and score follow from. */
function derivativeOf(
  scale: number,
  { causal, window, mask, selection, score, deferred }: Settings,
  known: readonly string[],
  captured: readonly string[],
): Derivative {
  return {
    saves: ['q', 'k', 'v', 'out', 'lse', ...known, ...captured],
    gradients(saved, { out: gradOut, lse: gradLse }, wanted, control) {
      const { q, k, v, out, lse } = saved as Readonly<Record<'q' | 'k' | 'v' | 'out' | 'lse', Tensor>>;
      const gradients = { out, lse, gradLse, gradOut: gradOut ?? zeros(q.runtime, out.shape) };
      const tensors = Object.fromEntries(known.map((name) => [name, saved[name] as Tensor]));
      const { gradQ, gradK, gradV, gradCaptured } = attentionBackward(q, k, v, gradients, {
        scale,
        causal,
        window,
        mask,
        ...control,
        selection: selection && selectionOf(selection.given, tensors),
        score: score && withTensors(score, (at) => saved[captured[at] as string] as Tensor),
        deferred: deferred && { ...deferred, tensors },
        captured: captured.some((name) => wanted.has(name)),
      });
      const ofTensors = (score ? partsOf(score) : []).flatMap(({ name, table }) =>
        typeof table === 'string' ? [[captured[Number(table.slice(1))], gradCaptured[name]]] : [],
      );
      return { q: gradQ, k: gradK, v: gradV, ...Object.fromEntries(ofTensors) };
    },
  };
}

/**
 * Gradients of a loss with respect to the inputs of `attention`, from those by its results; the settings must be the
 * same. O(n)
 * memory: the weights are computed again from lse. The same bits whatever the number of threads. A query that sees no
 * key has zero gradient. The inputs must be finite.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} an unknown or ill-typed option
 */
export function attentionBackward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  gradients: AttentionGradients,
  options: AttentionBackwardOptions = {},
): AttentionBackwardResult {
  return attentionBackwardOp({ q, k, v, gradients }, options);
}
