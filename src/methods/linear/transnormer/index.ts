/**
 * TransNormer's two attentions: NormAttention, linear attention without a denominator whose output is normalised
 * instead, and DiagAttention, exact attention within blocks, for the early layers.
 * Sources: Qin et al. 2022, arXiv 2210.10340; the norm and the blocks as in the authors' code, fairseq-evo.
 */
import * as valibot from 'valibot';
import { ShapeError } from '../../../errors';
import { elu, eluPlusOne, type FeatureMap, relu } from '../../../feature-maps';
import { band } from '../../../masks/band';
import { blocks } from '../../../masks/blocks';
import { attention, attentionBackward } from '../../../ops/attention';
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { linearAttention, linearAttentionBackward } from '../../../ops/linear-attention';
import { reluAttention, reluAttentionBackward } from '../../../ops/relu-attention';
import { rmsNorm, rmsNormBackward } from '../../../ops/rms-norm';
import type { Control } from '../../../runtime/backend';
import { hostTensor } from '../../../tensor/host';
import { bindShapes, formatShape } from '../../../tensor/shape';
import { Temporaries } from '../../../tensor/temporaries';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { causal, count, float32 } from '../../schema';
import { pairWeights } from '../../weights';
import { features, keysOf, type Phi, reference, type TransnormerParams } from './reference';

export const transnormer = defineMethod({
  name: 'transnormer',
  family: 'linear',
  summary: 'linear attention with a norm in place of the denominator, or exact attention within blocks',
  paper: { title: 'The Devil in Linear Transformer', arxiv: '2210.10340', year: 2022 },
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  outputs: { out: 'b n h e' },
  params: valibot.strictObject({
    attention: valibot.optional(
      valibot.pipe(
        valibot.picklist(['norm', 'diag']),
        valibot.description('NormAttention, for late layers, or DiagAttention, for early ones'),
      ),
      'norm',
    ),
    causal,
    phi: valibot.optional(
      valibot.pipe(
        valibot.picklist(['1+elu', 'elu', 'relu', 'identity']),
        valibot.description('of norm: the feature map; T1 has elu, T2 1+elu'),
      ),
      '1+elu',
    ),
    block: valibot.optional(count('of diag: tokens of a block', 1), 64),
    weights: valibot.optional(
      valibot.pipe(
        valibot.picklist(['softmax', 'relu']),
        valibot.description('of diag: T1 has relu, with a norm, T2 softmax, without'),
      ),
      'softmax',
    ),
    epsilon: valibot.optional(
      valibot.pipe(
        valibot.number(),
        float32(),
        valibot.minValue(0),
        valibot.description('added to the root mean square of the norm'),
      ),
      1e-8,
    ),
  }),
  needsTraining: true,

  reference(inputs, params, gradOut) {
    checkTokens(inputs, params);
    return reference(inputs, params, gradOut);
  },

  async forward({ q, k, v }, params, control = {}) {
    checkInputs({ q, k, v }, params);
    if (isSoftmax(params)) {
      const { out, lse } = await attention(q, k, v, { ...maskOf(params), ...control });
      lse.dispose();
      return { out };
    }
    using temporaries = new Temporaries();
    const sums = await temporaries.own(sumsOf({ q, k, v }, params, control, temporaries));
    return { out: await normalise(sums, params) };
  },

  async backward({ q, k, v }, _, gradOut, params, control = {}) {
    checkInputs({ q, k, v, gradOut }, params);
    using temporaries = new Temporaries();
    // What `forward` did not return is computed again.
    if (isSoftmax(params)) {
      const results = await temporaries.ownAll(attention(q, k, v, { ...maskOf(params), ...control }));
      const grads = await attentionBackward(q, k, v, { ...results, gradOut }, { ...maskOf(params), ...control });
      return { q: grads.gradQ, k: grads.gradK, v: grads.gradV };
    }
    const sums = await temporaries.own(sumsOf({ q, k, v }, params, control, temporaries));
    const bySums = await temporaries.own(normalise(sums, params, gradOut));
    if (params.attention === 'diag') {
      const { block, causal } = params;
      const grads = await reluAttentionBackward(q, k, v, bySums, { block, causal, ...control });
      return { q: grads.gradQ, k: grads.gradK, v: grads.gradV };
    }
    const map = MAPS[params.phi];
    const phiQ = map ? await temporaries.own(map.forward(q)) : q;
    const phiK = map ? await temporaries.own(map.forward(k)) : k;
    const grads = await linearAttentionBackward(
      phiQ,
      phiK,
      v,
      { gradOut: bySums },
      { causal: params.causal, ...control },
    );
    if (!map) return { q: grads.gradQ, k: grads.gradK, v: grads.gradV };
    await temporaries.ownAll(grads);
    const gradQ = await temporaries.own(map.backward(q, grads.gradQ));
    const gradK = await map.backward(k, grads.gradK);
    return temporaries.release({ q: gradQ, k: gradK, v: grads.gradV });
  },

  cost({ b, n, m, h, g, d, e }, { attention: kind, causal, block, weights }) {
    // The norm: squares, their sum, and the quotients.
    const norm = 3 * b * n * h * e;
    const bytes = 4 * b * (n * h * (d + e) + m * g * (d + e));
    if (kind === 'norm') {
      const products = 2 * b * d * e * (m * g + n * h);
      return { flops: products + b * d * (n * h + m * g) + norm, bytes, state: 4 * b * h * d * e };
    }
    let pairs = 0;
    for (let first = 0; first < n; first += block) {
      const size = Math.min(block, n - first);
      pairs += causal ? (size * (size + 1)) / 2 : size * size;
    }
    return {
      flops: 2 * b * h * pairs * (d + e) + (weights === 'relu' ? norm : 0),
      bytes,
      // The keys and values of the block at hand.
      state: 4 * b * g * Math.min(n, block) * (d + e),
      visited: pairs / (n * m),
    };
  },

  weights({ q, k }, params, queries) {
    const m = k.shape[1] as number;
    const { attention: kind, weights: form } = params;
    const scale = 1 / Math.sqrt(q.shape[3] as number);
    const phi = (x: typeof q) => hostTensor(features(x, params), x.shape, 'f64');
    const found = pairWeights({ q: phi(q), k: phi(k) }, queries, (dot, { query, key }) => {
      const [first, past] = keysOf(params, query, m);
      if (key < first || key >= past) return 0;
      if (kind === 'norm') return dot;
      return form === 'softmax' ? Math.exp(scale * dot) : Math.max(0, dot);
    });
    return found.data.some((weight) => weight < 0) ? undefined : found;
  },

  variants({ n, m }) {
    if (n !== m) return [{ attention: 'norm' }];
    return [false, true].flatMap((causal) => [
      { attention: 'norm' as const, causal },
      { attention: 'diag' as const, block: 64, causal },
      { attention: 'diag' as const, block: 64, weights: 'relu' as const, causal },
    ]);
  },

  experiment: () => import('./experiment'),
});

/** None for the identity. */
const MAPS: Readonly<Record<Phi, FeatureMap | undefined>> = { '1+elu': eluPlusOne, elu, relu, identity: undefined };

const isSoftmax = ({ attention: kind, weights }: TransnormerParams) => kind === 'diag' && weights === 'softmax';

/** Token i sees the keys of its own block. */
const maskOf = ({ block, causal }: TransnormerParams) => ({ mask: blocks(block, band(0, 0)), causal });

/** What the norm is taken of. */
async function sumsOf(
  { q, k, v }: Readonly<Record<'q' | 'k' | 'v', Tensor>>,
  { attention: kind, phi, block, causal }: TransnormerParams,
  control: Control,
  temporaries: Temporaries,
): Promise<Tensor> {
  if (kind === 'diag') return reluAttention(q, k, v, { block, causal, ...control });
  const map = MAPS[phi];
  const phiQ = map ? await temporaries.own(map.forward(q)) : q;
  const phiK = map ? await temporaries.own(map.forward(k)) : k;
  const { out, state } = await linearAttention(phiQ, phiK, v, { causal, ...control });
  state.dispose();
  return out;
}

/** SRMSNorm over the heads of a token side by side; with `gradOut` its gradient. */
async function normalise(sums: Tensor, { epsilon }: TransnormerParams, gradOut?: Tensor): Promise<Tensor> {
  const [b, n, h, e] = sums.shape as [number, number, number, number];
  const settings = { epsilon: 0, offset: epsilon };
  using rows = sums.reshape([b * n, h * e]);
  using gradRows = gradOut?.reshape([b * n, h * e]);
  using result = await (gradRows ? rmsNormBackward(rows, gradRows, settings) : rmsNorm(rows, settings));
  return result.reshape(sums.shape);
}

function checkInputs(
  inputs: Readonly<Record<'q' | 'k' | 'v', Tensor>> & { readonly gradOut?: Tensor },
  params: TransnormerParams,
): void {
  checkFloat32(transnormer.name, { ...inputs }, {});
  checkContiguous({ ...inputs });
  checkTokens(inputs, params);
}

/** Blocks, and what comes after a token, need queries and keys that are the same tokens. */
function checkTokens(
  { q, k, v }: Readonly<Record<'q' | 'k' | 'v', { readonly shape: readonly number[] }>>,
  { attention: kind, causal }: TransnormerParams,
): void {
  const { n, m } = bindShapes(transnormer.inputs, { q: q.shape, k: k.shape, v: v.shape });
  if (n === m || (kind === 'norm' && !causal)) return;
  throw new ShapeError(
    `${kind === 'diag' ? 'attention diag' : 'causal'} needs as many queries as keys, got q ${formatShape(q.shape)} and k ${formatShape(k.shape)}`,
  );
}
