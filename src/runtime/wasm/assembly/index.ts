/** The kernels: each takes the address of its params, a task number, and its worker's working memory. */
import { FORWARD_BYTES } from '../../../ops/attention/forward.as';
import { BACKWARD_BYTES } from '../../../ops/attention/backward.as';
import { DELTA_BYTES } from '../../../ops/gated-delta-rule/forward.as';
import { DELTA_BACKWARD_BYTES } from '../../../ops/gated-delta-rule/backward.as';
import { LINEAR_BYTES } from '../../../ops/linear-attention/passes.as';
import { STEP_BYTES } from '../../../ops/linear-attention/step.as';

export { attention, pack as packKeysValues } from '../../../ops/attention/forward.as';
export { attentionBackward, backwardPack, backwardReduce, backwardTables } from '../../../ops/attention/backward.as';
export { binary, unary, unaryBackward } from '../../../ops/elementwise/elementwise.as';
export { deltaForward, deltaRecurrent, deltaStates } from '../../../ops/gated-delta-rule/forward.as';
export { deltaGradients, deltaReverse } from '../../../ops/gated-delta-rule/backward.as';
export { depthwiseConv, depthwiseWeights } from '../../../ops/depthwise-conv/depthwise-conv.as';
export { copy } from '../../../ops/copy/copy.as';
export { initialise } from './functions.as';
export { linearOutputs, linearTotal, linearStates } from '../../../ops/linear-attention/passes.as';
export { linearHeadSums, linearQuotient, linearStep } from '../../../ops/linear-attention/step.as';
export { matmul, packPanels, packSlices } from '../../../ops/matmul/matmul.as';
export { peak } from './product.as';
export { modifyScores } from '../../../ops/attention/program.as';
export { reluAttention } from '../../../ops/relu-attention/relu-attention.as';
export { rmsNorm } from '../../../ops/rms-norm/rms-norm.as';
export { focus, focusBackward, route, routeBank, routeLogits } from '../../../ops/routing/routing.as';
export { gather } from '../../../ops/gather/gather.as';
export { layerNorm } from '../../../ops/layer-norm/layer-norm.as';
export { rowwise } from '../../../ops/rows/rows.as';

/** Bytes of working memory that a worker needs. */
export function scratchBytes(): i32 {
  const attention = max(FORWARD_BYTES, BACKWARD_BYTES);
  const recurrences = max(max(LINEAR_BYTES, STEP_BYTES), max(DELTA_BYTES, DELTA_BACKWARD_BYTES));
  return <i32>((max(attention, recurrences) + 63) & ~63);
}
