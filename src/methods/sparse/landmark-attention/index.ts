/**
 * Landmark attention: the last token of each block stands for the block. A softmax over the query's own block and the
 * landmarks before it says how much each earlier block counts; a softmax within each says what its tokens count.
 * Source: Mohtashami and Jaggi 2023, arXiv 2305.16300, and the authors' code.
 */
import * as valibot from 'valibot';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { landmarkAttention as grouped, isGroupedHere } from '../../../ops/landmark-attention';
import { bindShapes } from '../../../tensor/shape';
import { defineMethod } from '../../define';
import { choice, scale, whole } from '../../schema';
import { LandmarkCache } from './cache';
import { groupedAttention } from './grouped';
import { reference } from './reference';
import { weights } from './weights';

const BLOCK = 50;

export const landmarkAttention = defineMethod({
  name: 'landmark-attention',
  short: 'Landmark',
  family: 'sparse',
  summary: 'softmax within blocks of tokens, each weighted by a softmax over the landmarks that end them',
  paper: '2305.16300',
  inputs: { q: 'b n h d', k: 'b n g d', v: 'b n g e' },
  outputs: { out: 'b n h e' },
  params: valibot.strictObject({
    block: whole('tokens of a block, without its landmark', { least: 1, preset: BLOCK }),
    topBlocks: whole('earlier blocks that each query and head opens, those of the largest landmark scores; else all', {
      least: 1,
    }),
    openedBy: choice(
      ['query-head', 'query', 'head'],
      'in a decoder with topBlocks: each query and head opens blocks, a query for all heads, or a head for all queries of a step',
      'query-head',
    ),
    scale,
  }),
  needsTraining: true,
  isCausal: () => true,

  reference,

  forward(inputs, params, control = {}) {
    checkFloat32(landmarkAttention.name, inputs, {});
    checkContiguous(inputs);
    const { q, k, v } = inputs;
    bindShapes(landmarkAttention.inputs, { q: q.shape, k: k.shape, v: v.shape });
    const { block, topBlocks, scale = 1 / Math.sqrt(q.shape[3] as number) } = params;
    if (topBlocks === undefined && isGroupedHere(q, block))
      return { out: grouped(q, k, v, block, { scale, ...control }) };
    return q.runtime.scope(() => ({ out: groupedAttention(inputs, { ...params, scale }, control) }));
  },

  weights,

  landmarkEvery: ({ block }) => block,
  continuation: (params) => ({
    from: 'own',
    open: (place) =>
      new LandmarkCache(
        place,
        params,
        Array.from({ length: place.rows }, () => ({ length: 0, tables: undefined })),
      ),
  }),

  cost({ b, n, h, g, d, e }, { block, topBlocks = Number.POSITIVE_INFINITY }) {
    let [pairs, landmarks] = [0, 0];
    for (let at = 0; at * (block + 1) < n; at++) {
      const rows = Math.min(block + 1, n - at * (block + 1));
      const full = Math.min(rows, block);
      // The landmark sees the tokens of its block, as the last of them does.
      pairs += (full * (full + 1)) / 2 + (rows - full) * block + rows * Math.min(at, topBlocks) * block;
      landmarks += rows * at;
    }
    return {
      flops: b * h * (2 * (d + e) * pairs + 2 * d * landmarks),
      bytes: 4 * b * n * (h * (d + e) + g * (d + e)),
      state: 0,
    };
  },

  variants({ n }) {
    const block = Math.max(1, Math.min(BLOCK, Math.floor(n / 4) - 1));
    return [{ block }, { block, topBlocks: 2 }];
  },
  page: () => import('./page'),
});
