/** Attention within blocks of tokens whose weights are relu(scale q k): no softmax and no row sums. */
import { show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import type { Op } from '../../runtime/op';
import { overElements, type Plan } from '../../runtime/wasm/plan';
import { bindShapes, formatShape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkOptions } from '../check';
import { compute } from '../compute';
import { checkContiguous, checkFloat32 } from '../float32';
import type { ReluAttentionBackwardCall, ReluAttentionCall, ReluAttentionProblem } from './call';
import { kernels, ReluAttentionParams } from './params.generated';

const forward: Op<ReluAttentionCall> = {
  name: 'reluAttention',
  reference: async () => (await import('./reference')).forward,
  kernels,
  wasm: (call) => plan(call, { out: call.out }),
  webgpu: async () => (await import('./webgpu')).planReluAttention,
};

const backward: Op<ReluAttentionBackwardCall> = {
  name: 'reluAttentionBackward',
  reference: async () => (await import('./reference')).backward,
  kernels,
  wasm: (call) => plan(call, call),
  webgpu: async () => (await import('./webgpu')).planReluAttentionBackward,
};

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

export interface ReluAttentionOptions extends Control {
  /** Tokens of a block: a query sees the keys of its own block. Default: all of them are one. */
  readonly block?: number | undefined;
  /** A query sees no key after its own position. Default false. */
  readonly causal?: boolean | undefined;
  /** Factor on the scores; default 1 / sqrt(d). */
  readonly scale?: number | undefined;
}

/**
 * relu(scale q k^T) v within blocks: q [b,n,h,d], k [b,n,g,d], v [b,n,g,e] -> [b,n,h,e], f32, contiguous; g divides h
 * and query head i uses key/value head floor(i * g / h). Holds no weights.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 * @throws {ParameterError} an option that is unknown or out of range
 */
export function reluAttention(q: Tensor, k: Tensor, v: Tensor, options: ReluAttentionOptions = {}): Tensor<'f32'> {
  const { problem, shape } = checkProblem('reluAttention', { q, k, v }, options);
  const spec = { shape, dtype: 'f32' } as const;
  const { out } = compute(forward, { q, k, v }, { out: spec }, ({ out }) => ({ ...problem, out }), options, {
    derivative: {
      saves: ['q', 'k', 'v'],
      gradients(saved, gradients, _, control) {
        const { q, k, v } = saved as Record<'q' | 'k' | 'v', Tensor>;
        const { block, causal, scale } = options;
        const settings = { block, causal, scale, ...control };
        const { gradQ, gradK, gradV } = reluAttentionBackward(q, k, v, gradients.out as Tensor, settings);
        return { q: gradQ, k: gradK, v: gradV };
      },
    },
  });
  return out;
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
  const inputs = { q, k, v, gradOut };
  const { problem, shape } = checkProblem('reluAttentionBackward', inputs, options);
  if (!sameShape(gradOut.shape, shape))
    throw new ShapeError(`gradOut must have shape ${formatShape(shape)}, got ${formatShape(gradOut.shape)}`);
  const results = {
    gradQ: { shape: q.shape, dtype: 'f32' },
    gradK: { shape: k.shape, dtype: 'f32' },
    gradV: { shape: v.shape, dtype: 'f32' },
  } as const;
  return compute(backward, inputs, results, (grads) => ({ ...problem, gradOut, ...grads }), options);
}

function checkProblem(
  op: string,
  inputs: Readonly<Record<'q' | 'k' | 'v', Tensor>>,
  options: ReluAttentionOptions,
): { problem: ReluAttentionProblem; shape: number[] } {
  checkOptions(op, options, ['block', 'causal', 'scale', 'signal', 'onProgress']);
  const { block, causal = false, scale, ...control } = options;
  checkFloat32(op, inputs, control);
  checkContiguous(inputs);
  const { q, k, v } = inputs;
  const letters = bindShapes(
    { q: 'b n h d', k: 'b n g d', v: 'b n g e' },
    { q: q.shape, k: k.shape, v: v.shape },
  ) as Record<'b' | 'n' | 'h' | 'g' | 'd' | 'e', number>;
  const { b, n, h, g, d, e } = letters;
  if (h % g !== 0)
    throw new ShapeError(
      `the ${g} heads of k ${formatShape(k.shape)} must divide the ${h} heads of q ${formatShape(q.shape)}`,
    );
  const checked = {
    block: block === undefined ? n : block,
    causal,
    scale: scale === undefined ? 1 / Math.sqrt(d) : scale,
  };
  if (!(Number.isSafeInteger(checked.block) && checked.block >= 1))
    throw new ParameterError(`block must be an integer >= 1, got ${show(block)}`);
  if (typeof causal !== 'boolean') throw new ParameterError(`causal must be true or false, got ${show(causal)}`);
  if (!Number.isFinite(checked.scale)) throw new ParameterError(`scale must be a finite number, got ${show(scale)}`);
  return { problem: { q, k, v, ...checked, block: Math.min(checked.block, n) }, shape: [b, n, h, e] };
}
