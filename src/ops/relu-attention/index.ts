/** Attention within blocks of tokens whose weights are relu(scale q k): no softmax and no row sums. */
import type { Control } from '../../runtime/backend';
import { overElements, type Plan } from '../../runtime/cpu/plan';
import type { Extents } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { boolean, defineOp, f32, type OptionsOf, whole } from '../define';
import { checkHeads, scale } from '../heads';
import { kernels, ReluAttentionParams } from './params.generated';
import type { ReluAttentionBackwardCall, ReluAttentionCall, ReluAttentionProblem } from './reference';

const options = {
  /** Tokens of a block: a query sees the keys of its own block. Default: all of them are one. */
  block: whole({ least: 1 }, ({ n }) => n as number),
  /** A query sees no key after its own position. Default false. */
  causal: boolean(false),
  /** Factor on the scores; default 1 / sqrt(d). */
  scale,
};
const inputs = { q: f32('b n h d'), k: f32('b n g d'), v: f32('b n g e') };

const more = ({ block }: Pick<ReluAttentionProblem, 'block'>, { n }: Extents) => ({
  block: Math.min(block, n as number),
});

export const reluAttentionBackwardOp = defineOp({
  name: 'reluAttentionBackward',
  inputs: { ...inputs, gradOut: f32('b n h e') },
  options,
  results: {
    gradQ: f32('b n h d', { fresh: true }),
    gradK: f32('b n g d', { fresh: true }),
    gradV: f32('b n g e', { fresh: true }),
  },
  operations: '8 b n n h d + 4 b n n h e',
  fits: checkHeads,
  more,
  reference: async () => (await import('./reference')).backward,
  kernels,
  cpu: (call) => plan(call, call),
  webgpu: async () => (await import('./webgpu')).planReluAttentionBackward,
});

export const reluAttentionOp = defineOp({
  name: 'reluAttention',
  inputs,
  options,
  results: { out: f32('b n h e', { fresh: true }) },
  operations: '2 b n n h d + 2 b n n h e',
  fits: checkHeads,
  more,
  reference: async () => (await import('./reference')).forward,
  kernels,
  cpu: (call) => plan(call, { out: call.out }),
  webgpu: async () => (await import('./webgpu')).planReluAttention,
  derivative: ({ block, causal, scale }): Derivative => ({
    saves: ['q', 'k', 'v'],
    gradients(saved, { out: gradOut }, _, control) {
      const inputs = { ...(saved as Record<'q' | 'k' | 'v', Tensor>), gradOut: gradOut as Tensor };
      const { gradQ, gradK, gradV } = reluAttentionBackwardOp(inputs, { block, causal, scale, ...control });
      return { q: gradQ, k: gradK, v: gradV };
    },
  }),
});

type Results = Partial<
  Pick<ReluAttentionCall & ReluAttentionBackwardCall, 'out' | 'gradOut' | 'gradQ' | 'gradK' | 'gradV'>
>;

function plan({ q, k, v, block, causal, scale }: ReluAttentionProblem, results: Results): Plan {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [g, e] = [k.shape[2] as number, v.shape[3] as number];
  const { out, gradOut, gradQ, gradK, gradV } = results;
  const operands = { q, k, v, out, gradOut, gradQ, gradK, gradV };
  const params = ReluAttentionParams({ n, h, g, d, e, block, causal, scale, ...operands });
  const elements = b * n * h * Math.min(n, block) * (d + e);
  return overElements('reluAttention', b * g * Math.ceil(n / block), params, elements);
}

export interface ReluAttentionOptions extends OptionsOf<typeof reluAttentionOp>, Control {}

/**
 * relu(scale q k^T) v within blocks: q [b,n,h,d], k [b,n,g,d], v [b,n,g,e] -> [b,n,h,e], f32, contiguous; g divides h
 * and query head i uses key/value head floor(i * g / h). Holds no weights.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 * @throws {ParameterError} an option that is unknown or out of range
 */
export function reluAttention(q: Tensor, k: Tensor, v: Tensor, options: ReluAttentionOptions = {}): Tensor<'f32'> {
  return reluAttentionOp({ q, k, v }, options).out;
}

/**
 * Gradients of a loss with respect to q, k and v, from that by the result of `reluAttention`; the options must be the
 * same.
 */
export function reluAttentionBackward(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  gradOut: Tensor,
  options: ReluAttentionOptions = {},
): Record<'gradQ' | 'gradK' | 'gradV', Tensor<'f32'>> {
  return reluAttentionBackwardOp({ q, k, v, gradOut }, options);
}
