/**
 * S2-Attention: each key/value head sees the blocks nearby and every so-manieth of the blocks far away, moved on from
 * head to head, so that heads are cheap and see everything together.
 * Source: Lin et al. 2024, arXiv 2407.17678; the formula: github.com/linxihui/dkernel, get_sparse_attn_mask.
 */
import * as valibot from 'valibot';
import { s2 } from '../../../masks/s2';
import { defineMaskedMethod } from '../../masked';
import { count, scale } from '../../schema';
import { sees } from './reference';

const whole = valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1));

export const s2Attention = defineMaskedMethod({
  name: 's2-attention',
  family: 'sparse',
  summary: 'exact attention of each head to the blocks nearby and to its own share of the far ones',
  paper: {
    title: 'S2-Attention: Hardware-Aware Context Sharding Among Attention Heads',
    arxiv: '2407.17678',
    year: 2024,
  },
  params: valibot.strictObject({
    block: valibot.optional(count('tokens of a block', 1), 64),
    localBlocks: valibot.optional(
      valibot.pipe(
        valibot.union([whole, valibot.strictTuple([whole, whole])]),
        valibot.description('blocks seen nearby, the own one included; relative: [before, after], or one for both'),
      ),
      16,
    ),
    verticalStride: valibot.optional(count('of the far blocks every so-manieth is seen', 1), 8),
    headStep: valibot.optional(
      count('blocks by which the far ones move from one key/value head to the next; else max(1, floor(stride / h))'),
    ),
    headOffset: valibot.optional(
      valibot.pipe(
        valibot.number(),
        valibot.integer(),
        valibot.description('blocks by which they are moved at the first head'),
      ),
      0,
    ),
    denseHeads: valibot.optional(count('how many key/value heads, the last ones, see everything'), 0),
    homogeneous: valibot.optional(
      valibot.pipe(valibot.boolean(), valibot.description('all heads see what the first one does')),
      false,
    ),
    positions: valibot.optional(
      valibot.pipe(
        valibot.picklist(['absolute', 'relative']),
        valibot.description('what far blocks are counted from: the first block, causally; the query, to both sides'),
      ),
      'absolute',
    ),
    scale,
  }),
  isCausal: ({ positions }) => positions === 'absolute',

  mask: ({ scale: _, ...pattern }) => s2(pattern),
  sees,

  variants({ m }) {
    const block = Math.min(64, 2 ** Math.floor(Math.log2(Math.max(1, m / 32))));
    const relative = { block, positions: 'relative' as const };
    return [
      { block, localBlocks: 16 },
      { block, localBlocks: 4 },
      { block, localBlocks: 2, verticalStride: 16 },
      { ...relative, localBlocks: 4 },
      { ...relative, localBlocks: 2, verticalStride: 16 },
    ];
  },

  experiment: () => import('./experiment'),
});
