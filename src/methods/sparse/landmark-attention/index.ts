/**
 * Landmark attention: the last token of each block stands for the block. A softmax over the query's own block and the
 * landmarks before it says how much each earlier block counts; a softmax within each says what its tokens count.
 * Source: Mohtashami and Jaggi 2023, arXiv 2305.16300, and the authors' code.
 */
import * as valibot from 'valibot';
import { DTypeError, ParameterError } from '../../../errors';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { landmarkAttention as grouped, isGroupedHere } from '../../../ops/landmark-attention';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, flag, number, scale, whole } from '../../schema';
import { LandmarkCache } from './cache';
import { groupedAttention } from './grouped';
import { reference } from './reference';
import { weights } from './weights';

const BLOCK = 50;
/** The learned key of the context-miss token. */
const MISS = 'context_miss.key';

export const landmarkAttention = defineMethod({
  name: 'landmark-attention',
  short: 'Landmark',
  family: 'sparse',
  summary: 'softmax within blocks of tokens, each weighted by a softmax over the landmarks that end them',
  paper: '2305.16300',
  inputs: { q: 'b n h d', k: 'b n g d', v: 'b n g e' },
  optional: { miss: 'g d', gated: 'n' },
  integers: ['gated'],
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
    contextMiss: flag(
      'a learned key, the context-miss token, stands before blocks: in training before half of them, drawn anew, in a decoder with topBlocks before those that are opened',
      false,
    ),
    missBelow: number('in a decoder: queries and heads whose context-miss token weighs less open no blocks', {
      least: 0,
      most: 1,
      preset: 0,
    }),
    scale,
  }),
  needsTraining: true,
  isCausal: () => true,

  reference,

  forward(inputs, params, control = {}) {
    const { q, k, v, miss, gated } = inputs;
    const floats = { q, k, v, ...(miss && { miss }) };
    checkFloat32(landmarkAttention.name, floats, {});
    if (gated && gated.dtype !== 'i32') throw new DTypeError(`gated must be i32, got ${gated.dtype}`);
    const all = { ...floats, ...(gated && { gated }) };
    checkContiguous(all);
    const shapes = Object.fromEntries(Object.entries(all).map(([name, { shape }]) => [name, shape]));
    bindShapes({ ...landmarkAttention.inputs, ...landmarkAttention.optional }, shapes);
    if (gated && !miss) throw new ParameterError('gated says what stands behind miss, which must be given too');
    const { block, topBlocks, scale = 1 / Math.sqrt(q.shape[3] as number) } = params;
    if (topBlocks === undefined && !gated && isGroupedHere(q, block))
      return { out: grouped(q, k, v, block, { scale, ...control }) };
    return q.runtime.scope(() => ({ out: groupedAttention(inputs, { ...params, scale }, control) }));
  },

  weights,

  layer: ({ keyHeads, d }, { contextMiss }) => ({
    parameters: contextMiss ? { [MISS]: { shape: [keyHeads, d], initial: { std: 1 / Math.sqrt(d) } } } : {},
    inputs: (_, __, parameters) => (contextMiss ? { miss: parameters[MISS] as Tensor } : {}),
  }),
  landmarkEvery: ({ block }) => block,
  exactUpTo: ({ block }) => block,
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
