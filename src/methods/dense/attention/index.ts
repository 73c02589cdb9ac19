/**
 * Exact softmax attention, the baseline that every other method is measured against.
 * Sources: Vaswani et al. 2017, arXiv 1706.03762 (the definition); Milakov and Gimelshein 2018, arXiv 1805.02867
 * (softmax in one pass over the keys); Dao et al. 2022, arXiv 2205.14135 (tiles, so that no n x m buffer exists).
 */
import * as valibot from 'valibot';
import { area } from '../../../masks/area';
import { attention, bandOf } from '../../../ops/attention';
import { softmaxAttention } from '../../../runtime/reference/attention';
import { defineMethod } from '../../define';

const reach = valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(-1));

export const exactAttention = defineMethod({
  name: 'attention',
  family: 'dense',
  summary: 'softmax(scale q kᵀ) v over the keys that each query may see, exactly, in O(n) memory',
  paper: { title: 'Attention Is All You Need', arxiv: '1706.03762', year: 2017 },
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  outputs: { out: 'b n h e', lse: 'b n h' },
  params: valibot.strictObject({
    causal: valibot.optional(
      valibot.pipe(valibot.boolean(), valibot.description('a query sees no key after its own position')),
      false,
    ),
    window: valibot.optional(
      valibot.pipe(
        valibot.strictTuple([reach, reach]),
        valibot.description('keys seen before and after the own position; -1 for all'),
      ),
      [-1, -1],
    ),
    scale: valibot.optional(
      valibot.pipe(valibot.number(), valibot.finite(), valibot.description('factor on the scores; else 1 / sqrt(d)')),
    ),
  }),

  mask: bandOf,

  reference({ q, k, v }, params) {
    const [, n, , d] = q.shape as [number, number, number, number];
    const m = k.shape[1] as number;
    const [left, right] = params.causal ? [params.window[0], 0] : params.window;
    const sees = (i: number, j: number) => (left === -1 || j >= i - left) && (right === -1 || j <= i + right);
    const { scale = 1 / Math.sqrt(d) } = params;
    return softmaxAttention({ q, k, v }, scale, (i, j) => sees(i + m - n, j));
  },

  async forward({ q, k, v }, params, control) {
    return { ...(await attention(q, k, v, { ...params, ...control })) };
  },

  cost({ b, n, m, h, g, d, e }, params) {
    const pairs = area(bandOf(params), { b, n, m, h, g });
    const elements = b * (n * h * d + m * g * d + m * g * e + n * h * e + n * h);
    return { flops: 2 * (d + e) * pairs, bytes: 4 * elements, state: 0, visited: pairs / (b * h * n * m) };
  },

  variants({ m }) {
    const widths = [64, 32, 16, 8, 4].map((part) => 2 ** Math.round(Math.log2(m / part))).filter((width) => width >= 1);
    return [
      {},
      ...widths.map((width) => ({ window: [width, width] as [number, number] })),
      { causal: true },
      ...widths.map((width) => ({ causal: true, window: [width, 0] as [number, number] })),
    ];
  },
});
