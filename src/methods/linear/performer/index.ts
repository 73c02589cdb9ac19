/**
 * Performer: the exponentials of softmax attention replaced by products of positive random features (FAVOR+), so that
 * linear attention applies.
 * Source: Choromanski et al. 2020, arXiv 2009.14794.
 */
import { arcCosine, type FeatureMap, type FeatureOptions, positive } from '../../../feature-maps';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { linearAttention } from '../../../ops/linear-attention';
import { map } from '../../../ops/map/map';
import type { Control } from '../../../runtime/backend';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { linearWeights, rowsAt } from '../../weights';
import { reference } from './reference';
import { drawOf, FLOOR, factorsOf, type PerformerParams, params } from './settings';

export const performer = defineMethod({
  name: 'performer',
  family: 'linear',
  summary: 'softmax attention estimated by positive random features, in O(n) time; good for small scores only',
  paper: '2009.14794',
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  outputs: { out: 'b n h e' },
  params,

  // Features of softmax are scaled by the longest key of all tokens, which cancels out unless something is added.
  isCausal: ({ causal, kernel, epsilon }) => causal && (kernel === 'relu' || epsilon === 0),

  // Features of softmax are scaled by the longest key, which is not known until the last token.
  continuation: (params) =>
    params.causal && params.kernel === 'relu'
      ? {
          from: 'state',
          state: { state: 'state', keySum: 'keySum' },
          advance: (inputs, control) => performerBehind(inputs as Qkv, params, inputs, control),
        }
      : undefined,

  reference,

  forward(inputs, params, control = {}) {
    checkInputs(inputs);
    return inputs.q.runtime.scope(() => {
      const { q, k } = mapped(inputs, params, { signal: control.signal });
      const { causal, epsilon } = params;
      const { out } = linearAttention(q, k, inputs.v, { causal, epsilon, normalise: true, ...control });
      return { out };
    });
  },

  cost({ b, n, m, h, g, d, e }, params) {
    const { features } = drawOf(params, d);
    // Projections, then |x|^2 and two operations a feature, or three; then states and outputs with their sums of keys.
    const after = params.kernel === 'relu' ? 3 * features : 2 * d + 2 * features;
    const maps = b * (n * h + m * g) * (2 * d * features + after);
    const attention = b * h * (n + m) * 2 * features * (e + 1);
    return {
      flops: maps + attention,
      bytes: 4 * b * (n * h * (d + e) + m * g * (d + e)),
      state: 4 * b * h * features * (e + 1),
    };
  },

  needsTraining: true,
  weights({ q, k, v }, params, queries) {
    return linearWeights(mapped({ q: rowsAt(q, queries), k, v }, params, {}), queries, params);
  },
  variants: ({ n, m }) => (n === m ? [{}, { causal: true }] : [{}]),
  page: () => import('./page'),
});

/** What tokens leave to those behind them: `state` and `keySum` of linear attention. */
export interface PerformerState {
  readonly state?: Tensor | undefined;
  readonly keySum?: Tensor | undefined;
}

/** Performer of tokens behind others, causal, from what these left, and what all of them leave. */
export function performerBehind(inputs: Qkv, params: PerformerParams, before: PerformerState, control: Control) {
  const { q, k } = mapped(inputs, params, { signal: control.signal });
  const { out, state, keySum } = linearAttention(q, k, inputs.v, {
    causal: true,
    epsilon: params.epsilon,
    normalise: true,
    initialState: before.state,
    initialKeySum: before.keySum,
    ...control,
  });
  return { out, state, keySum };
}

type Qkv = Readonly<Record<'q' | 'k' | 'v', Tensor>>;

function checkInputs({ q, k, v }: Qkv): void {
  checkFloat32(performer.name, { q, k, v }, {});
  checkContiguous({ q, k });
  bindShapes(performer.inputs, { q: q.shape, k: k.shape, v: v.shape });
}

/** The features of queries and keys, along the same directions. */
function mapped({ q, k }: Qkv, params: PerformerParams, control: FeatureOptions): Record<'q' | 'k', Tensor> {
  const d = q.shape[3] as number;
  const draw = drawOf(params, d);
  const factors = factorsOf(params, d);
  const phi = (x: Tensor, factor: number, features: FeatureMap) =>
    features.forward(
      map((x, { factor }) => x * factor, x, { captured: { factor }, ...control }),
      control,
    );
  if (params.kernel === 'softmax')
    return {
      q: phi(q, factors.q, positive({ ...draw, stabilise: 'rows' })),
      k: phi(k, factors.k, positive({ ...draw, stabilise: 'heads' })),
    };
  const features = arcCosine({ ...draw, degree: 1 });
  const floor = FLOOR * Math.sqrt(2 / draw.features);
  const raised = (x: Tensor, factor: number) =>
    map((phi, { floor }) => phi + floor, phi(x, factor, features), { captured: { floor }, ...control });
  return { q: raised(q, factors.q), k: raised(k, factors.k) };
}
