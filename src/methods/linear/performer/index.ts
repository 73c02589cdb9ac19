/**
 * Performer: the exponentials of softmax attention replaced by products of positive random features (FAVOR+), so that
 * linear attention applies.
 * Source: Choromanski et al. 2020, arXiv 2009.14794.
 */
import * as valibot from 'valibot';
import { arcCosine, type FeatureMap, type FeatureOptions, positive } from '../../../feature-maps';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { linearAttention, linearAttentionBackward, MOST_FEATURES } from '../../../ops/linear-attention';
import { add, multiply } from '../../../ops/map';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { causal, float32, scale } from '../../schema';
import { linearWeights } from '../../weights';
import { featuresOf, reference } from './reference';
import { drawOf, FLOOR, factorsOf, KERNELS, type PerformerParams } from './settings';

export const performer = defineMethod({
  name: 'performer',
  family: 'linear',
  summary: 'softmax attention estimated by positive random features, in O(n) time; good for small scores only',
  paper: { title: 'Rethinking Attention with Performers', arxiv: '2009.14794', year: 2020 },
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  outputs: { out: 'b n h e' },
  params: valibot.strictObject({
    features: valibot.optional(
      valibot.pipe(
        valibot.number(),
        valibot.integer(),
        valibot.minValue(1),
        valibot.maxValue(MOST_FEATURES),
        valibot.description(`random features of a query or key; else d ln d, from 1 to ${MOST_FEATURES}`),
      ),
    ),
    kernel: valibot.optional(
      valibot.pipe(
        valibot.picklist(KERNELS),
        valibot.description('softmax estimates exponentials of scores; relu is a kernel of its own, for SEA'),
      ),
      'softmax',
    ),
    orthogonal: valibot.optional(
      valibot.pipe(valibot.boolean(), valibot.description('directions at right angles, which vary less')),
      true,
    ),
    seed: valibot.optional(
      valibot.pipe(valibot.number(), valibot.safeInteger(), valibot.description('of the random directions')),
      0,
    ),
    causal,
    epsilon: valibot.optional(
      valibot.pipe(
        valibot.number(),
        float32(),
        valibot.minValue(0),
        valibot.description('added to the denominators; features of softmax are at most 1 / sqrt(features)'),
      ),
      0,
    ),
    scale,
  }),

  reference,

  forward({ q, k, v }, params, control = {}) {
    const maps = mapsOf({ q, k, v }, params);
    const { signal } = control;
    using phiQ = maps.q.forward(q, { signal });
    using phiK = maps.k.forward(k, { signal });
    const { out, ...rest } = linearAttention(phiQ, phiK, v, { ...settingsOf(params), ...control });
    for (const tensor of Object.values(rest)) tensor.dispose();
    return { out };
  },

  backward({ q, k, v }, _, gradOut, params, { signal } = {}) {
    const maps = mapsOf({ q, k, v }, params);
    const settings = { ...settingsOf(params), signal };
    using phiQ = maps.q.forward(q, { signal });
    using phiK = maps.k.forward(k, { signal });
    // Once more, for the denominators: those of `forward` are not among its results.
    const results = linearAttention(phiQ, phiK, v, settings);
    try {
      const { out, denominator } = results;
      const grads = linearAttentionBackward(phiQ, phiK, v, { gradOut, out, denominator }, settings);
      using gradPhiQ = grads.gradQ;
      using gradPhiK = grads.gradK;
      const gradQ = maps.q.backward(q, gradPhiQ, { signal });
      return { q: gradQ, k: maps.k.backward(k, gradPhiK, { signal }), v: grads.gradV };
    } finally {
      for (const tensor of Object.values(results)) tensor.dispose();
    }
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
  weights: (inputs, params, queries) => linearWeights(featuresOf(inputs, params), queries, params),
  variants: ({ n, m }) => (n === m ? [{}, { causal: true }] : [{}]),
  experiment: () => import('./experiment'),
});

const settingsOf = ({ causal, epsilon }: PerformerParams) => ({ causal, epsilon, normalise: true });

/** The maps of queries and keys, which share their directions. Throws unless the inputs fit. */
function mapsOf(
  inputs: Readonly<Record<'q' | 'k' | 'v', Tensor>>,
  params: PerformerParams,
): Record<'q' | 'k', FeatureMap> {
  checkFloat32(performer.name, inputs, {});
  checkContiguous({ q: inputs.q, k: inputs.k });
  const { d } = bindShapes(performer.inputs, { q: inputs.q.shape, k: inputs.k.shape, v: inputs.v.shape });
  const draw = drawOf(params, d as number);
  const factors = factorsOf(params, d as number);
  if (params.kernel === 'relu') {
    const map = raised(arcCosine({ ...draw, degree: 1 }), FLOOR * Math.sqrt(2 / draw.features));
    return { q: ofMultiples(factors.q, map), k: ofMultiples(factors.k, map) };
  }
  return {
    q: ofMultiples(factors.q, positive({ ...draw, stabilise: 'rows' })),
    k: ofMultiples(factors.k, positive({ ...draw, stabilise: 'heads' })),
  };
}

/** phi(x) + by. */
function raised(map: FeatureMap, by: number): FeatureMap {
  return {
    ...map,
    forward(x, options = {}) {
      using phi = map.forward(x, options);
      using constant = x.runtime.tensor([by], []);
      return add(phi, constant, options);
    },
  };
}

/** phi(factor x). */
function ofMultiples(factor: number, map: FeatureMap): FeatureMap {
  const times = (x: Tensor, options: FeatureOptions = {}) => {
    using factors = x.runtime.tensor([factor], []);
    return multiply(x, factors, options);
  };
  return {
    ...map,
    forward(x, options) {
      using multiple = times(x, options);
      return map.forward(multiple, options);
    },
    backward(x, gradPhi, options) {
      using multiple = times(x, options);
      using gradMultiple = map.backward(multiple, gradPhi, options);
      return times(gradMultiple, options);
    },
  };
}
