/**
 * The two attentions of C3D-AD: a layer of random features in place of the softmax, and the learnable advisor, a
 * memory that keys and values correct and queries read.
 * Sources: Lu et al. 2025, arXiv 2508.01311, equations 4 to 11; defaults of the layer as in the authors' code, CL3AD.
 */
import { checkContiguous, checkFloat32 } from '../../../ops/float32';
import { linearAttention } from '../../../ops/linear-attention';
import type { Control } from '../../../runtime/backend';
import type { Tensor } from '../../../tensor/tensor';
import { defineMethod } from '../../define';
import { pairProducts, rowsAt } from '../../weights';
import { nothing, type Update, updateOf } from './advisor';
import { featuresOf } from './features';
import { reference } from './reference';
import { checkInputs, drawn, type KernelAttentionParams, type Named, params } from './settings';

/** The sum of a row's weights below which its output has shrunk noticeably. */
const LEAST_SUM = 0.9;

export const kernelAttention = defineMethod({
  name: 'kernel-attention',
  family: 'linear',
  short: 'kernel',
  summary: 'linear attention over a few random features, or a memory of them that tokens correct across calls',
  paper: '2508.01311',
  inputs: { q: 'b n h d', k: 'b m g d', v: 'b m g e' },
  optional: { advisor: 'b h f e', directions: 'f d' },
  outputs: { out: 'b n h e', advisor: 'b h f e' },
  sometimes: ['advisor'],
  params,
  needsTraining: true,

  reference(inputs, params, gradOut) {
    checkInputs(inputs, params);
    return reference(inputs, params, gradOut);
  },

  forward: (tensors, params, control = {}) => attend(tensors, params, control),

  cost({ b, n, m, h, g, d, e }, { part, features: f = 10, update }) {
    // Projection, |x|^2 and two operations a feature.
    const feature = 2 * d * f + 2 * d + 2 * f;
    const bytes = 4 * b * (n * h * (d + e) + m * g * (d + e));
    if (part === 'layer') {
      return {
        flops: b * (n * h + m * g) * feature + b * h * (n + m) * 2 * f * (e + 1),
        bytes,
        state: 4 * b * h * f * (e + 1),
      };
    }
    const state = b * h * f * e;
    const written = update === 'frozen' ? 0 : m;
    // Sums are written; updates also read the old value, and mix it with the new one.
    const write = update === 'sum' ? 2 * f * e : 4 * f * e + 3 * e;
    return {
      flops: b * h * ((n + written) * feature + written * write + n * 2 * f * e),
      bytes: bytes + 4 * (update === 'frozen' ? 1 : 2) * state,
      state: 4 * state,
    };
  },

  weights(inputs, params, queries) {
    // A token that is corrected by later ones may weigh less than nothing.
    if (params.part === 'advisor' && (params.update !== 'sum' || inputs.advisor)) return undefined;
    const { q, k, directions = drawnTensor(q, params, q.shape[3] as number) } = inputs as Named<Tensor>;
    const { norm } = params;
    return pairProducts({
      q: featuresOf(rowsAt(q, queries), directions, { of: 'queries', norm }, {}),
      k: featuresOf(k, directions, { of: 'keys', norm }, {}),
    });
  },

  async warning(tensors, params, control = {}) {
    const { part, epsilon } = params;
    if (part !== 'layer' || epsilon === 0) return undefined;
    const { runtime, shape } = tensors.v;
    const [b, m, g] = shape as [number, number, number];
    using v = runtime.tensor(new Float32Array(b * m * g).fill(1), [b, m, g, 1]);
    using out = attend({ ...tensors, v }, params, control).out as Tensor<'f32'>;
    return shrinkage(await out.read(), epsilon);
  },

  variants: ({ h, g }) => [
    {},
    ...(h === g ? [{ part: 'advisor' as const }, { part: 'advisor' as const, update: 'sum' as const }] : []),
  ],
  page: () => import('./page'),
});

function attend(
  tensors: Named<Tensor>,
  params: KernelAttentionParams,
  control: Control,
): { out: Tensor; advisor?: Tensor } {
  return tensors.q.runtime.scope(() => {
    const { queries, keys, values, initial } = prepare(tensors, params, control);
    const { part, epsilon } = params;
    const settings = part === 'layer' ? { normalise: true, epsilon } : { initialState: initial };
    const { out, state } = linearAttention(queries, keys, values, { ...settings, ...control });
    return part === 'advisor' ? { out, advisor: state } : { out };
  });
}

/** A warning if rows have weights that sum to less than `LEAST_SUM`, and thus shrink towards 0. */
function shrinkage(sums: Float32Array, epsilon: number): string | undefined {
  const short = sums.filter((sum) => sum < LEAST_SUM);
  if (short.length === 0) return undefined;
  const mean = sums.reduce((total, sum) => total + sum, 0) / sums.length;
  const share = Math.max(1, Math.round((100 * short.length) / sums.length));
  return `the weights of ${share}% of the queries sum to less than ${LEAST_SUM}, those of all to ${mean.toPrecision(2)} on average, and outputs shrink as much, since epsilon ${epsilon} is large beside their shifted exponentials: pass a smaller one, such as 0`;
}

/** The features of the queries, and what they read. */
function prepare(
  tensors: Named<Tensor>,
  params: KernelAttentionParams,
  control: Control,
): Update & { readonly queries: Tensor } {
  const { q, k, v, advisor, directions: given } = tensors;
  const all = { q, k, v, ...(advisor && { advisor }), ...(given && { directions: given }) };
  checkFloat32(kernelAttention.name, all, {});
  checkContiguous(all);
  checkInputs(tensors, params);
  const { part, norm, update } = params;
  const d = q.shape[3] as number;
  const directions = given ?? drawnTensor(q, params, d);
  const queries = featuresOf(q, directions, { of: 'queries', norm }, control);
  if (part === 'advisor' && update === 'frozen')
    return { queries, ...nothing(queries, v.shape[3] as number), initial: advisor };
  const keys = featuresOf(k, directions, { of: 'keys', norm }, control);
  if (part === 'layer') return { queries, keys, values: v, initial: undefined };
  return { queries, ...updateOf({ phi: keys, v, advisor }, params, control) };
}

function drawnTensor(q: Tensor, params: KernelAttentionParams, d: number): Tensor {
  const values = drawn(params, d);
  return q.runtime.tensor(values, [values.length / d, d]);
}
