/**
 * Parallax: softmax attention less the covariance of values and keys under its weights, times a learned r of each query. Two
 * more products a pair than attention, on the same keys and values. Zuo et al. 2026, arXiv 2605.29157.
 * Letters: b batch, n queries, m keys, h query heads, g key/value heads, d head dimension, e value dimension.
 */
import { UnsupportedError } from '../../errors';
import type { Op } from '../../runtime/op';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import type { AttentionResult } from '../attention';
import {
  attendedResults,
  attendToCache,
  cachedSettings,
  cacheLayer,
  checkCachedHeads,
  type Places,
} from '../attention/decode/to-cache';
import { fittingMask, maskSettings } from '../attention/settings';
import { CacheLayer } from '../cache/layer';
import { defineComposite, defineOp, f32, floats, group, type OptionsOf } from '../define';
import { zeros } from '../float32';
import { checkHeads, gradients, largestHead, STRIDED, tokens } from '../heads';
import type { CachedParallaxCall } from './call';
import { planCachedParallax, planParallax, planParallaxBackward } from './cpu';
import { kernels } from './params.generated';

const { q, k, v } = tokens;
const inputs = { q, r: floats('b n h d', STRIDED), k, v };

const cached: Op<CachedParallaxCall> = {
  name: 'parallax',
  reference: async () => (await import('./reference')).cached,
  kernels,
  cpu: planCachedParallax,
  async webgpu() {
    throw new UnsupportedError('parallax has no kernel for a GPU that reads the pages of a cache');
  },
};

export const parallaxBackwardOp = defineOp({
  name: 'parallaxBackward',
  inputs: {
    ...inputs,
    /** What the forward pass returned and kept, and a loss's gradients. */
    gradients: group(
      {
        out: floats('b n h e', STRIDED),
        lse: f32('b n h'),
        mean: f32('b n h e'),
        level: f32('b n h'),
        gradOut: floats('b n h e', STRIDED),
      },
      { gradLse: f32('b n h') },
    ),
  },
  options: maskSettings,
  results: { ...gradients, gradR: floats('b n h d', { like: 'r', fresh: true }) },
  operations: '12 b n h m d + 4 b n h m e',
  largest: largestHead,
  fits: checkHeads,
  more: ({ gradients, ...given }, extents) => ({ ...gradients, ...fittingMask(given, extents) }),
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: planParallaxBackward,
  webgpu: async () => (await import('./webgpu')).planParallaxBackward,
});

/** Also gives what its backward pass keeps. */
export const parallaxOp = defineOp({
  name: 'parallax',
  inputs,
  options: maskSettings,
  operations: '4 b n h m d + 4 b n h m e',
  results: { ...attendedResults, mean: f32('b n h e', { fresh: true }), level: f32('b n h', { fresh: true }) },
  largest: largestHead,
  fits: checkHeads,
  more: fittingMask,
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: planParallax,
  webgpu: async () => (await import('./webgpu')).planParallax,
  derivative: ({ scale, mask }): Derivative => ({
    saves: ['q', 'r', 'k', 'v', 'out', 'lse', 'mean', 'level'],
    gradients(saved, { out: gradOut, lse: gradLse }, _, control) {
      const { q, r, k, v, ...kept } = saved as Record<keyof typeof inputs | 'out' | 'lse' | 'mean' | 'level', Tensor>;
      const gradients = { ...kept, gradLse, gradOut: gradOut ?? zeros(q.runtime, kept.out.shape) };
      const grads = parallaxBackwardOp({ q, r, k, v, gradients }, { scale, mask, ...control });
      return { q: grads.gradQ, r: grads.gradR, k: grads.gradK, v: grads.gradV };
    },
  }),
});

/** @internal */
export const parallaxToCacheOp = defineComposite({
  name: 'parallax',
  inputs: { q, r: inputs.r, cache: cacheLayer },
  options: cachedSettings,
  results: attendedResults,
  fits: checkCachedHeads,
  run: ({ r, ...given }, options, _, specs): AttentionResult =>
    attendToCache(given, options, specs, {
      op: cached,
      readsPagesOnGpu: false,
      inputs: { r },
      callOf: (call) => ({ ...call, r }),
      attend: (q, k, v, partOf, { score: _, ...options }) => parallax(q, partOf(r), k, v, options),
    }),
});

export interface ParallaxOptions extends OptionsOf<typeof parallaxOp>, Places {}
export interface CachedParallaxOptions extends OptionsOf<typeof parallaxToCacheOp>, Places {}

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
  options?: ParallaxOptions,
): AttentionResult {
  if (k instanceof CacheLayer) return parallaxToCacheOp({ q, r, cache: k }, v as CachedParallaxOptions);
  const { mean, level, ...result } = parallaxOp({ q, r, k, v: v as Tensor }, options);
  // Only the tape keeps them.
  mean.dispose();
  level.dispose();
  return result;
}
