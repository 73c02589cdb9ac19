/**
 * PowerAttention: besides the first block and a short window, a block sees the blocks at distances that are powers of
 * two, so that every earlier block is reached in a logarithmic number of layers.
 * Source: Chen et al. 2025, arXiv 2503.03588, algorithm 1. Not the power attention of arXiv 2507.04239.
 */
import * as valibot from 'valibot';
import { power } from '../../../masks/power';
import { defineMaskedMethod } from '../../masked';
import { flag, scale, whole } from '../../schema';
import { sees } from './reference';

export const powerAttention = defineMaskedMethod({
  name: 'power-attention',
  family: 'sparse',
  summary: 'exact causal attention to the blocks nearby, at distances that are powers of two, and to the first',
  paper: '2503.03588',
  params: valibot.strictObject({
    block: whole('tokens of a block; 1 for distances between tokens', { least: 1, preset: 256 }),
    window: whole('blocks seen nearby, the own one included', { least: 1, preset: 5 }),
    sink: flag('every query sees the first block', true),
    scale,
  }),
  isCausal: () => true,
  mask: ({ block, window, sink }) => power({ block, window, sink: sink ? 1 : 0 }),
  sees,

  variants({ m }) {
    // As many blocks as the paper has at 32K tokens; coarser and finer ones.
    const block = 2 ** Math.round(Math.log2(Math.max(1, m / 128)));
    return [
      { block, window: 5 },
      { block, window: 16 },
      { block: 2 * block, window: 3 },
      { block: 4 * block, window: 1 },
    ];
  },
  page: () => import('./page'),
});
