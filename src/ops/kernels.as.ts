/** The kernels: each takes the address of its params, a task number, and its worker's working memory. */
import { FORWARD_BYTES } from './attention/forward.as';
import { BACKWARD_BYTES } from './attention/backward.as';
import { DELTA_BYTES } from './gated-delta-rule/forward.as';
import { DELTA_BACKWARD_BYTES } from './gated-delta-rule/backward.as';
import { LINEAR_BYTES } from './linear-attention/passes.as';
import { STEP_BYTES } from './linear-attention/step.as';

export { attention, pack as packKeysValues } from './attention/forward.as';
export { attentionBackward, backwardPack, backwardReduce, backwardTables } from './attention/backward.as';
export { binary, unary, unaryBackward } from './elementwise/elementwise.as';
export { deltaForward, deltaRecurrent, deltaStates } from './gated-delta-rule/forward.as';
export { deltaGradients, deltaReverse } from './gated-delta-rule/backward.as';
export { depthwiseConv, depthwiseWeights } from './depthwise-conv/depthwise-conv.as';
export { initialise } from '../runtime/wasm/assembly/functions.as';
export { linearOutputs, linearTotal, linearStates } from './linear-attention/passes.as';
export { linearHeadSums, linearQuotient, linearStep } from './linear-attention/step.as';
export { matmul, packPanels, packSlices } from './matmul/matmul.as';
export { peak } from '../runtime/wasm/assembly/product.as';
export { modifyScores } from './attention/program.as';
export { reluAttention } from './relu-attention/relu-attention.as';
export { rmsNorm } from './rms-norm/rms-norm.as';
export { focus, focusBackward, route, routeBank, routeLogits } from './routing/routing.as';
export { gather } from './gather/gather.as';
export { layerNorm } from './layer-norm/layer-norm.as';
export { rowwise } from './rows/rows.as';

/** Bytes of working memory that a worker needs. */
export function scratchBytes(): i32 {
  const attention = max(FORWARD_BYTES, BACKWARD_BYTES);
  const recurrences = max(max(LINEAR_BYTES, STEP_BYTES), max(DELTA_BYTES, DELTA_BACKWARD_BYTES));
  return <i32>((max(attention, recurrences) + 63) & ~63);
}
