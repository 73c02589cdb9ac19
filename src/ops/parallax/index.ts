/**
 * Parallax: softmax attention less the covariance of values and keys under its weights, times a learned r of each query. Two
 * more products a pair than attention, on the same keys and values. Zuo et al. 2026, arXiv 2605.29157.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension.
 */
import { ShapeError, UnsupportedError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Op } from '../../runtime/op';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import {
  type AttentionOptions,
  type AttentionResult,
  type AttentionSettings,
  attentionToCache,
  type CachedAttentionOptions,
  checkProblem,
  checkStorage,
} from '../attention';
import { CacheLayer } from '../cache/layer';
import { checkOptions, checkTensors } from '../check';
import { compute } from '../compute';
import { zeros } from '../float32';
import type { CachedParallaxCall, ParallaxBackwardCall, ParallaxCall } from './call';
import { planCachedParallax, planParallax, planParallaxBackward } from './cpu';
import { kernels } from './params.generated';

const forward: Op<ParallaxCall> = {
  name: 'parallax',
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: planParallax,
  webgpu: async () => (await import('./webgpu')).planParallax,
};

const backward: Op<ParallaxBackwardCall> = {
  name: 'parallaxBackward',
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: planParallaxBackward,
  webgpu: async () => (await import('./webgpu')).planParallaxBackward,
};

const cached: Op<CachedParallaxCall> = {
  name: 'parallax',
  reference: async () => (await import('./reference')).cached,
  kernels,
  cpu: planCachedParallax,
  async webgpu() {
    throw new UnsupportedError('parallax has no kernel for a GPU that reads the pages of a cache');
  },
};

type Settings = Pick<AttentionSettings, 'scale' | 'causal' | 'window' | 'mask'>;

export interface ParallaxOptions extends Settings, Omit<AttentionOptions, keyof AttentionSettings> {}

export interface CachedParallaxOptions extends Omit<CachedAttentionOptions, 'score'> {}

/**
 * Parallax of the last tokens of each row to what a layer of a key-value cache holds of them: q as `attention` takes it, r of
 * its shape, rotated as q is where the cache has `rope`. Few queries read keys and values once for both. Has no derivative.
 *
 * @throws {ShapeError} ranks, extents or heads that do not fit
 * @throws {ParameterError} counts that do not fit, tokens that see evicted ones, a cache of another runtime
 */
export function parallax(q: Tensor, r: Tensor, cache: CacheLayer, options?: CachedParallaxOptions): AttentionResult;
/**
 * p (1 + level - r k^T) v, with p = softmax(scale * q k^T) over the keys each query may see and level the mean of r k^T
 * under p: p v less the covariance of values and keys under p times r. Scores of r are not scaled. With r = 0 softmax
 * attention; lse is that of p.
 *
 * q and r [b,n,h,d], k [b,m,g,d], v [b,m,g,e]; g divides h and query head i uses key/value head floor(i * g / h); d and e are
 * from 1 to 256; f32, f16 or bf16 storage, f32 arithmetic. Never holds n x m numbers, skips the tiles that no query sees. A
 * query that sees no key gives zeros and lse = -Infinity. Recorded by tapes; the inputs must be finite then.
 *
 * @throws {ShapeError} ranks or extents that do not fit, heads that do not divide, r of another shape than q
 * @throws {ParameterError} an unknown or ill-typed option
 */
export function parallax(q: Tensor, r: Tensor, k: Tensor, v: Tensor, options?: ParallaxOptions): AttentionResult;
export function parallax(
  q: Tensor,
  r: Tensor,
  k: Tensor | CacheLayer,
  v?: Tensor | CachedParallaxOptions,
  options: ParallaxOptions = {},
): AttentionResult {
  checkTensors({ q, r });
  checkStorage('r', r);
  if (!sameShape(r.shape, q.shape))
    throw new ShapeError(`r must have the shape of q, ${formatShape(q.shape)}, got ${formatShape(r.shape)}`);
  if (k instanceof CacheLayer)
    return attentionToCache(q, k, v as CachedParallaxOptions, {
      op: cached,
      inputs: { r },
      callOf: (call) => ({ ...call, r }),
      attend: (queries, keys, values, partOf, options) => parallax(queries, partOf(r), keys, values, options),
    });
  const inputs = { q, r, k, v: v as Tensor };
  checkTensors(inputs);
  checkOptions('parallax', options, ['scale', 'causal', 'window', 'mask', 'signal', 'onProgress', 'out', 'lse']);
  const { mean, level, ...result } = parallaxWithMeans(inputs, options);
  // Only the tape keeps them.
  mean.dispose();
  level.dispose();
  return result;
}

/** What the backward pass starts from: what the forward pass returned and kept, and a loss's gradients. */
interface Given extends Record<'q' | 'r' | 'k' | 'v' | 'out' | 'lse' | 'mean' | 'level' | 'gradOut', Tensor> {
  readonly gradLse?: Tensor | undefined;
}

/** Gradients with respect to q, r, k and v. */
export function parallaxBackward(
  { gradLse, ...given }: Given,
  options: Settings,
  control: Control,
): Record<'q' | 'r' | 'k' | 'v', Tensor> {
  const { q, r, k, v } = given;
  const { scale, settings } = checkProblem({ q, k, v }, options);
  const specs = {
    gradQ: { shape: q.shape, dtype: q.dtype },
    gradR: { shape: r.shape, dtype: r.dtype },
    gradK: { shape: k.shape, dtype: k.dtype },
    gradV: { shape: v.shape, dtype: v.dtype },
  };
  const { gradQ, gradR, gradK, gradV } = compute(
    backward,
    { ...given, ...(gradLse && { gradLse }) },
    specs,
    (grads, values) => ({ ...given, gradLse, ...grads, scale, ...settings(values) }),
    control,
  );
  return { q: gradQ, r: gradR, k: gradK, v: gradV };
}

/** `parallax`, and what its backward pass keeps beside the results. */
export function parallaxWithMeans(
  { q, r, k, v }: Record<'q' | 'r' | 'k' | 'v', Tensor>,
  options: ParallaxOptions,
): AttentionResult & Record<'mean' | 'level', Tensor<'f32'>> {
  const { b, n, h, e, scale, settings } = checkProblem({ q, k, v }, options);
  const results = {
    out: { shape: [b, n, h, e], dtype: q.dtype, given: options.out },
    lse: { shape: [b, n, h], dtype: 'f32', given: options.lse },
    mean: { shape: [b, n, h, e], dtype: 'f32' },
    level: { shape: [b, n, h], dtype: 'f32' },
  } as const;
  const { scale: given, causal, mask } = options;
  const window = options.window && ([...options.window] as const);
  const derivative: Derivative = {
    saves: ['q', 'r', 'k', 'v', 'out', 'lse', 'mean', 'level'],
    gradients(saved, { out, lse: gradLse }, _, control) {
      const all = saved as unknown as Omit<Given, 'gradOut'>;
      const gradOut = out ?? zeros(all.q.runtime, all.out.shape);
      return { ...parallaxBackward({ ...all, gradOut, gradLse }, { scale: given, causal, window, mask }, control) };
    },
  };
  return compute(
    forward,
    { q, r, k, v },
    results,
    (computed, values) => ({ q, r, k, v, scale, ...computed, ...settings(values) }),
    options,
    { derivative },
  );
}
