/**
 * Lightning attention: causal linear attention with a decay for each head, in chunks, as TransNormerLLM has it.
 * Sources: Qin et al. 2024, arXiv 2405.17381 (algorithms 5 and 6 with appendix C; the schedule of equation 10) and
 * arXiv 2401.04658; the authors' code for the schedule of the released models.
 */
import * as valibot from 'valibot';
import { ParameterError } from '../../../errors';
import { linearAttention } from '../../../ops/linear-attention';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { choice, whole } from '../../schema';
import { linearWeights, rowsAt } from '../../weights';
import { reference } from './reference';
import { lightningDecays, SCHEDULES, type Schedule } from './schedules';

/** Rows that are computed together (64 in arXiv 2405.17381), for the cost. */
const CHUNK = 48;

export const lightningAttention = defineMethod({
  name: 'lightning-attention',
  family: 'linear',
  summary: 'causal attention without a softmax, decaying at a rate of each head, at the same cost for every token',
  paper: '2405.17381',
  inputs: { q: 'b n h d', k: 'b n g d', v: 'b n g e' },
  optional: { decay: 'h', initial_state: 'b h d e' },
  constants: ['decay'],
  outputs: { out: 'b n h e', state: 'b h d e' },
  params: valibot.strictObject({
    schedule: choice(SCHEDULES, 'where the decays are from, if not given: the paper or the released models; else none'),
    layer: whole('of the schedule, from 0', { least: 0, preset: 0 }),
    layers: whole('of the schedule', { least: 1, preset: 1 }),
  }),
  isCausal: () => true,

  reference,

  forward(tensors, params, control) {
    const { q, k, v } = tensors;
    const { out, state } = linearAttention(q, k, v, { ...settingsOf(tensors, params), ...control });
    return { out, state };
  },

  cost({ b, n, h, g, d, e }) {
    const rest = n % CHUNK;
    const pairs = (((n - rest) / CHUNK) * CHUNK * (CHUNK + 1) + rest * (rest + 1)) / 2;
    const state = b * h * d * e;
    return {
      flops: b * h * (2 * (d + e) * pairs + 4 * n * d * e),
      bytes: 4 * (b * n * (h * d + g * d + g * e + h * e) + state),
      state: 4 * state,
    };
  },

  needsTraining: true,
  /** For queries and keys whose products are not negative, such as features. */
  weights({ q, k }, { schedule, ...place }, queries) {
    const decay = schedule && lightningDecays(schedule, q.shape[2] as number, place);
    return linearWeights({ q: rowsAt(q, queries), k }, queries, { causal: true, decay });
  },

  variants: () => [{}],
  page: () => import('./page'),
});

interface Params {
  readonly schedule?: Schedule | undefined;
  readonly layer: number;
  readonly layers: number;
}

interface Tensors {
  readonly q: Tensor;
  readonly decay?: Tensor | undefined;
  readonly initial_state?: Tensor | undefined;
}

/** Without decays and without a schedule there is no decay. */
function settingsOf(tensors: Tensors, params: Params) {
  const { q, decay, initial_state: initialState } = tensors;
  if (decay && params.schedule) throw new ParameterError('decay is given: leave the param schedule out');
  if (decay) bindShapes({ q: 'b n h d', decay: 'h' }, { q: q.shape, decay: decay.shape });
  const scheduled = params.schedule && lightningDecays(params.schedule, q.shape[2] as number, params);
  return { causal: true, decay: decay ?? scheduled, initialState };
}
