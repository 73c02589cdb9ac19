/**
 * Performer: the exponentials of softmax attention replaced by products of positive random features (FAVOR+), so that
 * linear attention applies.
 * Source: Choromanski et al. 2020, arXiv 2009.14794.
 */
import { arcCosine, type FeatureMap, type FeatureOptions, positive } from '../../../feature-maps';
import { positiveLogarithms } from '../../../feature-maps/positive';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { linearAttention } from '../../../ops/linear-attention';
import { exp, multiply, subtract } from '../../../ops/map';
import { map } from '../../../ops/map/map';
import { max, sum } from '../../../ops/reduce';
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
  isCausal,

  continuation: (params) =>
    isCausal(params)
      ? {
          from: 'state',
          state: { state: 'state', keySum: 'keySum', ...(params.kernel === 'softmax' && { largest: 'largest' }) },
          advance: (inputs, { signal }) => performerBehind(inputs as Qkv, params, inputs, { signal }),
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

function isCausal({ causal, kernel, epsilon }: PerformerParams): boolean {
  return causal && (kernel === 'relu' || epsilon === 0);
}

/** What tokens leave to those behind them: `state` and `keySum` of linear attention. */
export interface PerformerState {
  readonly state?: Tensor | undefined;
  readonly keySum?: Tensor | undefined;
  /** Of softmax, [b, 1, g, 1]: the logarithm of the largest feature of a head's keys, which all of them are divided by. */
  readonly largest?: Tensor | undefined;
}

/** Performer of tokens behind others, causal, from what these left, and what all of them leave. */
export function performerBehind(inputs: Qkv, params: PerformerParams, before: PerformerState, control: Control) {
  const { kernel, epsilon } = params;
  const features = { signal: control.signal };
  const { q, k, largest, ...left } =
    kernel === 'relu'
      ? { ...before, ...mapped(inputs, params, features) }
      : { q: mappedQueries(inputs.q, params, features), ...stabilised(inputs.k, params, before, features) };
  const { out, state, keySum } = linearAttention(q, k, inputs.v, {
    causal: true,
    epsilon,
    normalise: true,
    initialState: left.state,
    initialKeySum: left.keySum,
    ...control,
  });
  return { out, state, keySum, largest };
}

/** The features of keys of softmax and what the tokens before left, all of a head divided by the largest of any key so far. */
function stabilised(k: Tensor, params: PerformerParams, before: PerformerState, control: FeatureOptions) {
  const [b, , g, d] = k.shape as [number, number, number, number];
  const logarithms = scaled(k, factorsOf(params, d).k, positiveLogarithms(drawOf(params, d)), control);
  const own = max(logarithms, { axes: [1, 3], keepDims: true, ...control });
  const divided = (largest: Tensor) => exp(subtract(logarithms, largest, control), control);
  const { state, keySum } = before;
  if (!state || !keySum) return { k: divided(own), largest: own };
  // A row that has seen nothing has zeros, also for the largest; the largest feature is 1 in any other's sum.
  const seen = sum(keySum.reshape([b, 1, g, -1]), { axes: [3], keepDims: true, ...control });
  const [largest, factor] = map(
    (own, before, seen) => {
      const largest = seen > 0 ? Math.max(own, before) : own;
      return [largest, seen > 0 ? Math.exp(before - largest) : 0];
    },
    ...([own, before.largest as Tensor, seen] as const),
    control,
  );
  const rescaled = (x: Tensor) => multiply(x.reshape([b, 1, g, -1]), factor, control).reshape(x.shape);
  return { k: divided(largest), largest, state: rescaled(state), keySum: rescaled(keySum) };
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
  if (params.kernel === 'softmax')
    return {
      q: mappedQueries(q, params, control),
      k: scaled(k, factors.k, positive({ ...draw, stabilise: 'heads' }), control),
    };
  const features = arcCosine({ ...draw, degree: 1 });
  const floor = FLOOR * Math.sqrt(2 / draw.features);
  const raised = (x: Tensor, factor: number) =>
    map((phi, { floor }) => phi + floor, scaled(x, factor, features, control), { captured: { floor }, ...control });
  return { q: raised(q, factors.q), k: raised(k, factors.k) };
}

/** The features of queries of softmax, each divided by its largest. */
function mappedQueries(q: Tensor, params: PerformerParams, control: FeatureOptions): Tensor {
  const d = q.shape[3] as number;
  return scaled(q, factorsOf(params, d).q, positive({ ...drawOf(params, d), stabilise: 'rows' }), control);
}

/** Features of x times a factor. */
const scaled = (x: Tensor, factor: number, features: FeatureMap, control: FeatureOptions) =>
  features.forward(
    map((x, { factor }) => x * factor, x, { captured: { factor }, ...control }),
    control,
  );
