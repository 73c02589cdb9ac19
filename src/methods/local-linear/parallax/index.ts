/**
 * Parallax, parameterized local linear attention: softmax attention less the covariance of values and keys under its weights,
 * times a learned r of each query in place of the one that local linear attention solves for.
 * Source: Zuo et al. 2026, arXiv 2605.29157; that r's scores are not scaled, and the layer, as in the authors' code.
 */
import * as valibot from 'valibot';
import { area } from '../../../masks/area';
import { bandOf } from '../../../ops/attention';
import { parallax as attend } from '../../../ops/parallax';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod, type HostInputs } from '../../define';
import { causal, scale, whole } from '../../schema';
import { reference } from './reference';

interface Seen {
  readonly causal: boolean;
  readonly window?: number | undefined;
}

const seen = ({ causal, window }: Seen) => (window === undefined ? { causal } : { window: [window - 1, 0] as const });

/** The spacing of float32 at 1. */
const EPSILON = 2 ** -23;

/**
 * The result is the values times p (1 + level - t), t = r k^T and level its mean, which differ by little where t is large. In
 * float32 a sum of products such as t is off by about half an epsilon of |r| |k|, and so is level; factors of p take both on,
 * and p sums to 1: an epsilon of the largest |r| |k| |v|.
 */
function rounding({ r, k, v }: HostInputs<Record<'q' | 'r' | 'k' | 'v', string>>): number {
  return EPSILON * longest(r, r.shape.at(-1)) * longest(k, k.shape.at(-1)) * longest(v, 1);
}

/** The largest norm of a row of `width` numbers. */
function longest(x: HostTensor, width = 1): number {
  const numbers = toFloat64(x);
  let square = 0;
  for (let at = 0; at < numbers.length; at += width) {
    square = Math.max(
      square,
      numbers.subarray(at, at + width).reduce((sum, y) => sum + y * y, 0),
    );
  }
  return Math.sqrt(square);
}

export const parallax = defineMethod({
  name: 'parallax',
  family: 'local-linear',
  summary: 'softmax attention that subtracts the covariance of values and keys times a learned vector',
  paper: '2605.29157',
  inputs: { q: 'b n h d', r: 'b n h d', k: 'b m g d', v: 'b m g e' },
  outputs: { out: 'b n h e' },
  params: valibot.strictObject({
    causal,
    window: whole('keys that a query sees, its own the last; else all, or those that causal says', { least: 1 }),
    scale,
  }),
  needsTraining: true,
  rounding,
  isCausal: ({ causal, window }) => causal || window !== undefined,

  reference,

  forward({ q, r, k, v }, { scale, ...params }, control) {
    return q.runtime.scope(() => ({ out: attend(q, r, k, v, { ...seen(params), scale, ...control }).out }));
  },

  // Queries of its own in all but name: a layer projects, normalises and turns r as q.
  layer: () => ({ parameters: {}, queries: ['r'], inputs: () => ({}) }),

  continuation: ({ window, scale }) => ({
    from: 'keys',
    ...(window !== undefined && { window }),
    attend: ({ q, r }, keys, options) => attend(q as Tensor, r as Tensor, keys, { scale, ...options }).out,
  }),

  cost(letters, params) {
    const { b, n, m, h, g, d, e } = letters as Record<'b' | 'n' | 'm' | 'h' | 'g' | 'd' | 'e', number>;
    const pairs = area(bandOf(seen(params)), { b, n, m, h, g });
    return { flops: 4 * (d + e) * pairs, bytes: 4 * b * (n * h * (2 * d + e) + m * g * (d + e)), state: 0 };
  },

  variants: () => [{ causal: true }, {}, { window: 256 }],
  page: () => import('./page'),
});
