/**
 * DeltaLLM: keys change little from token to token, and elements that moved less than a threshold count as unchanged.
 * Sources: Qi, Gao, Ren and Chen 2025, arXiv 2507.19608, by a third party's notes, and code that follows the authors'.
 */
import * as valibot from 'valibot';
import { ParameterError, ShapeError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { bindShapes, formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, float32, number, scale, whole } from '../../schema';
import { type DeltaParams, deltaAttendToCache, deltaForward, windowOf } from './attend';
import { HeldMemory } from './memory';
import { reference } from './reference';

/** The share of products that is left at the paper's sparsity. */
const LEFT = 0.4;

const threshold = valibot.pipe(valibot.number(), float32(), valibot.minValue(0));

export const deltallm = defineMethod({
  name: 'deltallm',
  short: 'DeltaLLM',
  family: 'sparse',
  summary: 'softmax attention to keys whose elements are held while they change little, and to exact ones nearby',
  paper: '2507.19608',
  inputs: { q: 'b n h d', k: 'b n g d', v: 'b n g e' },
  outputs: { out: 'b n h e', sparsity: 'b g' },
  params: valibot.strictObject({
    threshold: valibot.pipe(
      valibot.union([threshold, valibot.pipe(valibot.array(threshold), valibot.minLength(1))]),
      valibot.description('how far an element of a key may be off; a number, or one for each key head'),
    ),
    windowShare: number('keys of the exact window, as a share of all tokens', { least: 0, most: 1, preset: 0.05 }),
    window: choice(['block', 'sliding'], 'keys of the own block, or those before the query', 'block'),
    sink: whole('first keys that are exact', { least: 0, preset: 0 }),
    scale,
  }),
  isCausal: () => true,
  gradient: false,
  // Reconstructed after SALE's, from the threshold in the code.
  calibration: { param: 'threshold', heads: 'k', start: 0.6, least: 1e-3, error: 0.4 },

  reference,

  forward({ q, k, v }, params, control) {
    checkFloat32(deltallm.name, { q, k, v }, {});
    checkContiguous({ q, k, v });
    bindShapes(deltallm.inputs, { q: q.shape, k: k.shape, v: v.shape });
    if ((q.shape[2] as number) % (k.shape[2] as number) !== 0)
      throw new ShapeError(`the heads of k ${formatShape(k.shape)} must divide those of q ${formatShape(q.shape)}`);
    checkThreshold(params, k.shape[2] as number);
    return q.runtime.scope(() => deltaForward(q, k, v, params, control));
  },

  continuation: (params) => ({
    from: 'keys',
    memory: () => new HeldMemory(),
    attend({ q }, keys, options, memory) {
      checkThreshold(params, keys.layout.heads);
      return deltaAttendToCache(q as Tensor, keys, params, options, memory as HeldMemory);
    },
  }),

  cost({ b, n, h, g, d, e }, params) {
    const pairs = (n * (n + 1)) / 2;
    const exact = Math.min(pairs, n * (windowOf(n, params) / 2 + params.sink));
    return {
      flops: b * h * (2 * d * (exact + LEFT * (pairs - exact)) + pairs + 2 * e * pairs) + 2 * b * n * g * d,
      bytes: 4 * b * n * (h * d + g * (d + e) + h * e),
      state: 0,
    };
  },

  variants: () => [{ threshold: 0.6 }, { threshold: 0.2 }, { threshold: 0.2, sink: 64 }],
  page: () => import('./page'),
});

/** Throws a ParameterError unless there is a threshold for each of g key heads. */
function checkThreshold({ threshold }: DeltaParams, g: number): void {
  if (typeof threshold !== 'number' && threshold.length !== g)
    throw new ParameterError(`threshold must be a number, or one for each of ${g} key heads, got ${threshold.length}`);
}
