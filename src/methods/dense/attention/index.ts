/**
 * Exact softmax attention, the baseline that every other method is measured against.
 * Sources: Vaswani et al. 2017, arXiv 1706.03762 (the definition); Milakov and Gimelshein 2018, arXiv 1805.02867
 * (softmax in one pass over the keys); Dao et al. 2022, arXiv 2205.14135 (tiles, so that no n x m buffer exists).
 */
import * as valibot from 'valibot';
import { causal as causalMask, full } from '../../../masks/band';
import { and, or } from '../../../masks/combine';
import { documents as documentsMask } from '../../../masks/documents';
import { prefix as prefixMask, sinks as sinksMask } from '../../../masks/first';
import type { Mask } from '../../../masks/mask';
import { attention, bandOf } from '../../../ops/attention';
import { widened } from '../../../ops/copy';
import { alibi, compose, softcap as softcapScore } from '../../../scores/score';
import type { Tensor } from '../../../tensor/tensor';
import { defineMaskedMethod } from '../../masked';
import { causal, number, scale, whole } from '../../schema';
import { modifier, sees } from './reference';

const reach = valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(-1));

export const exactAttention = defineMaskedMethod({
  name: 'attention',
  family: 'dense',
  summary: 'softmax(scale q kᵀ) v over the keys that each query may see, exactly, in O(n) memory',
  paper: '1706.03762',
  optional: { documents: 'b n', alibi_slopes: 'h' },
  integers: ['documents'],
  params: valibot.strictObject({
    causal,
    window: valibot.optional(
      valibot.pipe(
        valibot.strictTuple([reach, reach]),
        valibot.description('keys seen before and after the own position; -1 for all'),
      ),
      [-1, -1],
    ),
    sinks: whole('first keys that stay visible outside the window', { least: 0, preset: 0 }),
    prefix: whole('first keys that every query sees, whatever causal and window say', { least: 0, preset: 0 }),
    softcap: number('scores become softcap tanh(score / softcap)', { above: 0 }),
    scale,
  }),

  mask({ causal, window, sinks, prefix }, { given, b }) {
    const near = bandOf({ window });
    // Sinks add to what a window leaves; without one everything is near.
    const reached = sinks > 0 && near !== full() ? or(near, sinksMask(sinks)) : near;
    const past = causal ? (reached === full() ? causalMask() : bandAndCausal(reached, window)) : reached;
    const seen = prefix > 0 && past !== full() ? or(past, prefixMask(prefix)) : past;
    if (!given.documents) return seen;
    const own = documentsMask(given.documents, b);
    return seen === full() ? own : and(own, seen);
  },

  score({ softcap }, { alibi_slopes: slopes }) {
    const parts = [...(softcap ? [softcapScore(softcap)] : []), ...(slopes ? [alibi(widened(slopes))] : [])];
    return parts.length > 1 ? compose(...parts) : parts[0];
  },

  captured: ['alibi_slopes'],

  sees,
  modifier,

  continuation({ window: [before], sinks, prefix, softcap, scale }) {
    if (prefix > 0) return undefined;
    const score = softcap === undefined ? undefined : softcapScore(softcap);
    return {
      from: 'keys',
      ...(before >= 0 && { window: before + 1, sinks }),
      attend: ({ q }, keys, options) => attention(q as Tensor, keys, { scale, score, ...options }).out,
    };
  },

  variants({ m }) {
    const widths = [64, 16, 4, 32, 8].map((part) => 2 ** Math.round(Math.log2(m / part))).filter((width) => width >= 1);
    return [
      {},
      ...widths.map((width) => ({ window: [width, width] as [number, number] })),
      { causal: true },
      ...widths.map((width) => ({ causal: true, window: [width, 0] as [number, number] })),
    ];
  },
  leads: 3,
  page: () => import('./page'),
});

/** A plain window stays a band, which has a name and a map of its own. */
function bandAndCausal(reached: Mask, window: readonly [number, number]): Mask {
  return reached === bandOf({ window }) ? bandOf({ window, causal: true }) : and(causalMask(), reached);
}
