/**
 * S2-Attention: each key/value head sees the blocks nearby and every n-th of the blocks far away, moved on from
 * head to head, so that heads are cheap and see everything together.
 * Source: Lin et al. 2024, arXiv 2407.17678; the formula: github.com/linxihui/dkernel, get_sparse_attn_mask.
 */
import * as valibot from 'valibot';
import { s2, s2Pairs } from '../../../masks/s2';
import { defineMaskedMethod } from '../../masked';
import { choice, flag, scale, whole } from '../../schema';
import { sees } from './reference';

const blocks = valibot.pipe(valibot.number(), valibot.integer(), valibot.minValue(1));

export const s2Attention = defineMaskedMethod({
  name: 's2-attention',
  family: 'sparse',
  summary: 'exact attention of each head to the blocks nearby and to its own share of the far ones',
  paper: '2407.17678',
  params: valibot.strictObject({
    block: whole('tokens of a block', { least: 1, preset: 64 }),
    localBlocks: valibot.optional(
      valibot.pipe(
        valibot.union([blocks, valibot.strictTuple([blocks, blocks])]),
        valibot.description('blocks seen nearby, the own one included; relative: [before, after], or one for both'),
      ),
      16,
    ),
    verticalStride: whole('every n-th of the far blocks is seen', { least: 1, preset: 8 }),
    headStep: whole(
      'blocks by which the far ones move from one key/value head to the next; else max(1, floor(stride / h))',
      { least: 0 },
    ),
    headOffset: whole('blocks by which they are moved at the first head', { preset: 0 }),
    denseHeads: whole('how many key/value heads, the last ones, see everything', { least: 0, preset: 0 }),
    homogeneous: flag('all heads see what the first one does', false),
    positions: choice(
      ['absolute', 'relative'],
      'what far blocks are counted from: the first block, causally; the query, to both sides',
      'absolute',
    ),
    scale,
  }),
  isCausal: ({ positions }) => positions === 'absolute',

  mask: ({ scale: _, ...pattern }) => s2(pattern),
  pairs: ({ scale: _, ...pattern }, problem) => s2Pairs(pattern, problem),
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
  page: () => import('./page'),
});
