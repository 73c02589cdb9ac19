/**
 * TransNormer's two attentions: NormAttention, linear attention without a denominator whose output is normalised
 * instead, and DiagAttention, exact attention within blocks, for the early layers.
 * Sources: Qin et al. 2022, arXiv 2210.10340; the norm and the blocks as in the authors' code, fairseq-evo.
 */
import { ShapeError } from '../../../errors';
import { elu, eluPlusOne, type FeatureMap, relu } from '../../../feature-maps';
import { band } from '../../../masks/band';
import { blocks } from '../../../masks/blocks';
import { attention } from '../../../ops/attention';
import { readCacheFrom } from '../../../ops/cache';
import type { CacheLayer } from '../../../ops/cache/layer';
import { concat, contiguous, pad } from '../../../ops/copy';
import { checkContiguous, checkFloat32, zeros } from '../../../ops/float32';
import { linearAttention } from '../../../ops/linear-attention';
import { multiply } from '../../../ops/map';
import { map } from '../../../ops/map/map';
import { rmsNorm } from '../../../ops/norm';
import { reluAttention } from '../../../ops/relu-attention';
import { softmax } from '../../../ops/softmax';
import type { Control } from '../../../runtime/backend';
import { bindShapes, formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import type { AttendOptions } from '../../continuation';
import { defineMethod } from '../../define';
import { pairProducts, perPair, rowsAt } from '../../weights';
import { encode } from './positions';
import { keysOf, reference } from './reference';
import { anglesOf, checkPositions, type Phi, params, type Rotations, type TransnormerParams } from './settings';

export const transnormer = defineMethod({
  name: 'transnormer',
  family: 'linear',
  summary: 'linear attention with a norm in place of the denominator, or exact attention within blocks',
  paper: '2210.10340',
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  optional: { theta: 't', reflection: 'd' },
  constants: ['reflection'],
  outputs: { out: 'b n h e' },
  params,
  needsTraining: true,

  reference(inputs, params, gradOut) {
    checkTokens(inputs, params);
    return reference(inputs, params, gradOut);
  },

  forward(tensors, params, control = {}) {
    checkInputs(tensors, params);
    const { attention: kind, block, causal, weights, epsilon } = params;
    const { v, ...given } = tensors as Given;
    return v.runtime.scope(() => {
      const [q, k] = [prepared(given.q, given, params, control), prepared(given.k, given, params, control)];
      if (kind === 'norm') return { out: normalised(linearAttention(q, k, v, { causal, ...control }).out, epsilon) };
      if (weights === 'relu')
        return { out: normalised(reluAttention(q, k, v, { block, causal, ...control }), epsilon) };
      const { out } = attention(q, k, v, { mask: ownBlock(block), causal, ...control });
      return { out };
    });
  },

  continuation(params) {
    const { attention: kind, weights, positions, block, causal, epsilon } = params;
    if (kind === 'norm' && causal)
      return {
        from: 'state',
        state: { state: 'state' },
        advance(inputs, { lengths, ...control }) {
          const { v, state: initialState, ...given } = inputs as Given & { readonly state?: Tensor };
          const [q, k] = [given.q, given.k].map((x) => prepared(x, given, params, control, lengths)) as [
            Tensor,
            Tensor,
          ];
          const { out, state } = linearAttention(q, k, v, { causal, initialState, ...control });
          return { out: normalised(out, epsilon), state };
        },
      };
    if (kind !== 'diag') return undefined;
    return {
      from: 'keys',
      window: block,
      attend(inputs, keys, options) {
        const given = inputs as Given;
        if (weights === 'softmax' && positions === 'none')
          return attention(given.q, keys, { mask: ownBlock(block), ...options }).out;
        return attendToBlocks(given, keys, params, options);
      },
    };
  },

  layer({ d }, { positions }) {
    if (positions === 'none') return { parameters: {}, inputs: () => ({}) };
    const theta = { shape: [Math.floor(d / 2)], initial: { values: anglesOf(d) } };
    return { parameters: { theta }, inputs: (_, __, parameters) => ({ theta: parameters.theta as Tensor }) };
  },

  cost({ b, n, m, h, g, d, e }, { attention: kind, causal, block, weights, positions }) {
    // The norm: squares, their sum, and the quotients. LRPE: the reflection, four operations a channel, and a turn.
    const norm = 3 * b * n * h * e;
    const turns = positions === 'lrpe' ? 7 * b * d * (n * h + m * g) : 0;
    const bytes = 4 * b * (n * h * (d + e) + m * g * (d + e));
    if (kind === 'norm') {
      const products = 2 * b * d * e * (m * g + n * h);
      return { flops: products + turns + b * d * (n * h + m * g) + norm, bytes, state: 4 * b * h * d * e };
    }
    let pairs = 0;
    for (let first = 0; first < n; first += block) {
      const size = Math.min(block, n - first);
      pairs += causal ? (size * (size + 1)) / 2 : size * size;
    }
    return {
      flops: 2 * b * h * pairs * (d + e) + turns + (weights === 'relu' ? norm : 0),
      bytes,
      // The keys and values of the current block.
      state: 4 * b * g * Math.min(n, block) * (d + e),
      visited: pairs / (n * m),
    };
  },

  weights(inputs, params, queries) {
    const given = inputs as Given;
    const k = prepared(given.k, given, params, {});
    const m = k.shape[1] as number;
    // After the positions, which are those of the rows.
    const products = pairProducts({ q: rowsAt(prepared(given.q, given, params, {}), queries), k });
    const { attention: kind, weights: form } = params;
    const sees = (query: number, key: number) => {
      const [first, past] = keysOf(params, query, m);
      return key >= first && key < past;
    };
    if (kind === 'diag' && form === 'softmax') {
      const hidden = perPair(k, queries, m, (...pair) => (sees(...pair) ? 0 : Number.NEGATIVE_INFINITY));
      const captured = { scale: 1 / Math.sqrt(k.shape[3] as number) };
      const scores = map((product, hidden, { scale }) => scale * product + hidden, products, hidden, { captured });
      return softmax(scores);
    }
    const weights = kind === 'norm' ? products : relu.forward(contiguous(products));
    return multiply(
      weights,
      perPair(k, queries, m, (...pair) => Number(sees(...pair))),
    );
  },

  variants({ n, m }) {
    if (n !== m) return [{ attention: 'norm' }];
    return [false, true].flatMap((causal) => [
      { attention: 'norm' as const, causal },
      { attention: 'diag' as const, block: 64, causal },
      { attention: 'diag' as const, block: 64, weights: 'relu' as const, causal },
    ]);
  },
  page: () => import('./page'),
});

/** None for the identity. */
const MAPS: Readonly<Record<Phi, FeatureMap | undefined>> = { '1+elu': eluPlusOne, elu, relu, identity: undefined };

/** Token i sees the keys of its own block. */
const ownBlock = (block: number) => blocks(block, band(0, 0));

type Qkv = Readonly<Record<'q' | 'k' | 'v', Tensor>>;
type Given = Qkv & Rotations<Tensor>;

/** Of the tokens appended last, row by row: all from the first of their blocks on, with queries of zeros before theirs. */
function attendToBlocks(
  { q, ...given }: Given,
  keys: CacheLayer,
  params: TransnormerParams,
  { counts, ...control }: AttendOptions,
): Tensor {
  const between = (x: Tensor, before: number, behind: number) =>
    pad(x, [
      [0, 0],
      [before, behind],
      [0, 0],
      [0, 0],
    ]);
  return q.runtime.scope(() => {
    const [, n, h] = q.shape as [number, number, number];
    const rows = keys.rows.map((row, at) => {
      const count = counts[at] as number;
      if (count === 0) return zeros(q.runtime, [1, n, h, keys.layout.e]);
      const past = row.length - count;
      const first = past - (past % params.block);
      const own = between(q.slice(0, at, at + 1).slice(1, 0, count), past - first, 0);
      const tokens = { ...given, q: own, ...readCacheFrom(keys, row, first, control) };
      const { out } = transnormer.forward(tokens, params, control);
      return between((out as Tensor).slice(1, past - first, row.length - first), 0, n - count);
    });
    return rows.length === 1 ? (rows[0] as Tensor) : concat(rows as Tensor<'f32'>[], 0);
  });
}

/** Queries or keys as they are multiplied: mapped to features and rotated by their positions. */
function prepared(
  x: Tensor,
  turns: Rotations<Tensor>,
  params: TransnormerParams,
  { signal }: Control,
  before?: readonly number[],
): Tensor {
  const map = params.attention === 'norm' ? MAPS[params.phi] : undefined;
  const phi = map ? map.forward(x, { signal }) : x;
  return params.positions === 'none' ? phi : encode(phi, turns, params, { signal }, before);
}

/** SRMSNorm over the heads of a token side by side. */
function normalised(sums: Tensor, epsilon: number): Tensor {
  const [b, n, h, e] = sums.shape as [number, number, number, number];
  return rmsNorm(sums.reshape([b * n, h * e]), { epsilon: 0, offset: epsilon }).reshape(sums.shape);
}

function checkInputs(inputs: Given, params: TransnormerParams): void {
  const given: Record<string, Tensor> = Object.fromEntries(
    Object.entries<Tensor | undefined>(inputs).flatMap(([name, tensor]) => (tensor ? [[name, tensor]] : [])),
  );
  checkFloat32(transnormer.name, given, {});
  checkContiguous(given);
  checkTokens(inputs, params);
}

type Shaped = { readonly shape: readonly number[] };

/** Blocks, and what comes after a token, need queries and keys that are the same tokens. */
function checkTokens(
  inputs: Readonly<Record<'q' | 'k' | 'v', Shaped>> & Rotations<Shaped>,
  params: TransnormerParams,
): void {
  const { q, k, v } = inputs;
  const { attention: kind, causal } = params;
  const { n, m, d } = bindShapes(transnormer.inputs, { q: q.shape, k: k.shape, v: v.shape });
  checkPositions(inputs, d as number, params);
  if (n === m || (kind === 'norm' && !causal)) return;
  throw new ShapeError(
    `${kind === 'diag' ? 'attention diag' : 'causal'} needs as many queries as keys, got q ${formatShape(q.shape)} and k ${formatShape(k.shape)}`,
  );
}
