/**
 * The gated delta rule, the layer of Gated DeltaNet: a fixed-size state that forgets at a rate of each token's own, and
 * that each token corrects towards its value at its key.
 * Sources: Yang, Kautz and Hatamizadeh 2024, arXiv 2412.06464; the order of forgetting and correcting as in the authors'
 * code, flash-linear-attention.
 */
import * as valibot from 'valibot';
import { gatedDeltaRule as deltaRule } from '../../../ops/gated-delta-rule';
import { DELTA_RULE_FORMS } from '../../../ops/gated-delta-rule/call';
import { sizeOf } from '../../../tensor/shape';
import { defineMethod } from '../../define';
import { choice, scale } from '../../schema';
import { layer } from './layer';
import { reference } from './reference';

export const gatedDeltaRule = defineMethod({
  name: 'gated-delta-rule',
  family: 'linear',
  summary: 'a state that forgets and that each token corrects by the error of what it recalls, in O(n) time',
  paper: '2412.06464',
  inputs: { q: 'b n h d', k: 'b n h d', v: 'b n h e', g: 'b n h', beta: 'b n h' },
  optional: { initial_state: 'b h d e' },
  outputs: { out: 'b n h e', state: 'b h d e' },
  params: valibot.strictObject({
    form: choice(
      DELTA_RULE_FORMS,
      'by chunks of tokens and products, or token by token; else chunked from 8 tokens on',
    ),
    scale,
  }),
  isCausal: () => true,

  reference,

  forward(tensors, params, control) {
    const { q, k, v, g, beta, initial_state: initialState } = tensors;
    const { out, state } = deltaRule(q, k, v, g, beta, { ...params, ...control, initialState });
    return { out, state };
  },

  layer,

  cost({ b, n, h, d, e }) {
    const state = b * h * d * e;
    const tokens = sizeOf([b, n, h]);
    return {
      // Decay; read at the key, subtract, weigh, write; read at the query and scale.
      flops: tokens * (d * e + 2 * d * e + 2 * e + 2 * d * e + 2 * d * e + e),
      bytes: 4 * (tokens * (2 * d + 2 * e + 2) + state),
      state: 4 * state,
    };
  },

  variants: () => [{}],
  page: () => import('./page'),
});
