/** Kernels loaded before they are needed. */
import { show } from '../check';
import { ParameterError, UnsupportedError } from '../errors';
import { Runtime } from '../runtime/runtime';
import type { KernelFiles } from '../runtime/wasm/files';

import { backwardKernels, decodeKernels, kernels as ofAttention } from './attention/params.generated';
import { kernels as ofCells } from './cell-attention/params.generated';
import { kernels as ofConv } from './conv/params.generated';
import { kernels as ofCopy } from './copy/params.generated';
import { kernels as ofCrossEntropy } from './cross-entropy/params.generated';
import { kernels as ofCumulativeSum } from './cumulative-sum/params.generated';
import { kernels as ofGatedDeltaRule } from './gated-delta-rule/params.generated';
import { kernels as ofGather } from './gather/params.generated';
import { kernels as ofLinearAttention } from './linear-attention/params.generated';
import { kernels as ofLocalLinear } from './local-linear/params.generated';
import { kernels as ofMap, operationsKernels } from './map/params.generated';
import { kernels as ofMatmul } from './matmul/params.generated';
import { kernels as ofMergeStates } from './merge-states/params.generated';
import { kernels as ofNorm } from './norm/params.generated';
import { kernels as ofPacked } from './packed/params.generated';
import { kernels as ofParallax } from './parallax/params.generated';
import { kernels as ofRandom } from './random/params.generated';
import { kernels as ofReduce } from './reduce/params.generated';
import { kernels as ofReluAttention } from './relu-attention/params.generated';
import { kernels as ofRope } from './rope/params.generated';
import { kernels as ofRouting } from './routing/params.generated';
import { kernels as ofScatterAdd } from './scatter-add/params.generated';
import { kernels as ofSoftmax } from './softmax/params.generated';
import { kernels as ofTopK } from './top-k/params.generated';

/** With those that only gradients, steps or functions of elements need; elementwise ops share the kernels of `map`. */
const KERNELS = {
  attention: [ofAttention, backwardKernels, decodeKernels, operationsKernels],
  argsort: ofTopK,
  cellAttention: ofCells,
  concat: ofCopy,
  conv: [ofConv, operationsKernels],
  contiguous: ofCopy,
  cast: ofCopy,
  crossEntropy: ofCrossEntropy,
  cumulativeSum: ofCumulativeSum,
  focus: ofRouting,
  gatedDeltaRule: ofGatedDeltaRule,
  gather: ofGather,
  layerNorm: ofNorm,
  linearAttention: ofLinearAttention,
  localLinearAttention: ofLocalLinear,
  map: [ofMap, operationsKernels],
  matmul: [ofMatmul, operationsKernels],
  max: ofReduce,
  mean: ofReduce,
  mergeStates: ofMergeStates,
  packedWeights: [ofPacked, operationsKernels],
  parallax: [ofParallax, operationsKernels],
  random: ofRandom,
  reluAttention: ofReluAttention,
  rmsNorm: ofNorm,
  rope: ofRope,
  route: ofRouting,
  scatterAdd: ofScatterAdd,
  softmax: ofSoftmax,
  sum: ofReduce,
  topK: ofTopK,
} satisfies Readonly<Record<string, KernelFiles | readonly KernelFiles[]>>;

export type WarmName = keyof typeof KERNELS;

/**
 * Fetches and compiles the kernels of these ops now, so that the first call need not wait for them. The reference backend has
 * none.
 *
 * @throws {ParameterError} anything but a list of these names
 * @throws {UnsupportedError} the webgpu backend, whose kernels are compiled for the shapes of a call
 * @throws {BackendError} kernels that cannot be loaded
 */
export async function warm(runtime: Runtime, ops: readonly WarmName[]): Promise<void> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  if (!Array.isArray(ops)) throw new ParameterError(`ops must be a list of names of ops, got ${show(ops)}`);
  const wanted = Array.from(ops as readonly WarmName[], (name, at) => {
    if (Object.hasOwn(KERNELS, name)) return KERNELS[name];
    throw new ParameterError(`ops[${at}] must be one of ${Object.keys(KERNELS).join(', ')}, got ${show(name)}`);
  });
  const { backend } = runtime;
  if (backend.name === 'webgpu')
    throw new UnsupportedError(
      'warm is for the wasm backend: kernels of a GPU are compiled for the shapes of a call, so call the op once',
    );
  await backend.load?.(wanted.flat());
}
