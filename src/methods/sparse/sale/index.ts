/**
 * SALE: a long prompt's attention skips the blocks in which no pair matters, by scores that are estimated in four bits.
 * Sources: Ji, Zhang, Fu and Cui 2025, arXiv 2505.24179, and the authors' code.
 */
import * as valibot from 'valibot';
import { ParameterError, ShapeError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { bindShapes, formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, float32, scale, whole } from '../../schema';
import { type SaleParams, saleAttention } from './attend';
import { attendToCache } from './attend-to-cache';
import { reference } from './reference';
import { spansOf } from './reserved';

/** The share of estimated blocks that is kept at the paper's speed. */
const KEPT = 0.19;

const threshold = valibot.pipe(valibot.number(), float32(), valibot.minValue(0));

export const sale = defineMethod({
  name: 'sale',
  short: 'SALE',
  family: 'sparse',
  summary: 'exact attention to the blocks of keys in which some score, estimated in four bits, may matter',
  paper: '2505.24179',
  inputs: { q: 'b n h d', k: 'b n g d', v: 'b n g e' },
  outputs: { out: 'b n h e', lse: 'b n h', kept: 'b h u w' },
  params: valibot.strictObject({
    threshold: valibot.pipe(
      valibot.union([threshold, valibot.pipe(valibot.array(threshold), valibot.minLength(1))]),
      valibot.description('a block is kept where some weight may be above it; a number, or one for each query head'),
    ),
    queryBlock: whole('queries of a block', { least: 1, preset: 64 }),
    keyBlock: whole('keys of a block', { least: 1, preset: 32 }),
    local: whole('keys before a query that are kept at least, a multiple of keyBlock', { least: 1, preset: 128 }),
    segment: whole('keys by which the kept ones before a query grow, a multiple of keyBlock', {
      least: 1,
      preset: 128,
    }),
    quantize: choice(
      ['thread', 'token', 'none'],
      'what shares a scale: groups of rows, as GPU threads hold them, or nothing; or scores are exact',
      'thread',
    ),
    denseBelow: whole('with so many tokens or fewer attention is dense', { least: 0, preset: 1024 }),
    scale,
  }),
  isCausal: () => true,
  gradient: false,
  calibration: { param: 'threshold', heads: 'q', start: 0.008, least: 1e-4, error: 0.4 },

  reference,

  forward({ q, k, v }, params, control) {
    checkFloat32(sale.name, { q, k, v }, {});
    checkContiguous({ q, k, v });
    const { h } = bindShapes(sale.inputs, { q: q.shape, k: k.shape, v: v.shape }) as { h: number };
    checkHeadsOf(q, k);
    checkSale(params, h);
    return q.runtime.scope(() => saleAttention(q, k, v, params, control));
  },

  continuation: (params) => ({
    from: 'keys',
    attend({ q }, keys, options) {
      checkSale(params, (q as Tensor).shape[2] as number);
      return attendToCache(q as Tensor, keys, params, options);
    },
  }),

  exactUpTo: ({ denseBelow }) => denseBelow,

  cost({ b, n, h, g, d, e }, params) {
    const { queryBlock, keyBlock } = params;
    const spans = spansOf(n, n, params);
    let [near, estimated] = [0, 0];
    for (let a = 0; 2 * a < spans.length; a++) {
      const rows = Math.min(queryBlock, n - a * queryBlock);
      const blocks = (spans[2 * a] as number) - 1;
      estimated += rows * blocks * keyBlock;
      near += rows * (a * queryBlock + (rows + 1) / 2 - blocks * keyBlock);
    }
    const isDense = n <= params.denseBelow;
    const pairs = near + (isDense ? 1 : KEPT) * estimated;
    const choosing = isDense ? 0 : 2 * d * (near + estimated);
    return {
      flops: b * h * (2 * (d + e) * pairs + choosing),
      bytes: 4 * b * n * (h * d + g * (d + e) + h * e + h),
      state: 0,
    };
  },

  variants: () => [{ threshold: 0.004 }, { threshold: 0.016 }, { threshold: 0.001 }],
  page: () => import('./page'),
});

function checkHeadsOf(q: Tensor, k: Tensor): void {
  if ((q.shape[2] as number) % (k.shape[2] as number) === 0) return;
  throw new ShapeError(`the heads of k ${formatShape(k.shape)} must divide those of q ${formatShape(q.shape)}`);
}

/** Throws a ParameterError for params that do not fit together, or a call of h query heads. */
function checkSale({ threshold, keyBlock, local, segment }: SaleParams, h: number): void {
  for (const [name, value] of Object.entries({ local, segment }))
    if (value % keyBlock !== 0)
      throw new ParameterError(`${name} must be a multiple of keyBlock, ${keyBlock}, got ${value}`);
  if (typeof threshold !== 'number' && threshold.length !== h)
    throw new ParameterError(
      `threshold must be a number, or one for each of ${h} query heads, got ${threshold.length}`,
    );
}
