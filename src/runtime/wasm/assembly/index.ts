/** The kernels: each takes the address of its params, a task number, and its worker's working memory. */
import { FORWARD_BYTES } from './attention';
import { BACKWARD_BYTES } from './attention-backward';
import { DELTA_BYTES } from './gated-delta-rule';
import { DELTA_BACKWARD_BYTES } from './gated-delta-rule-backward';
import { LINEAR_BYTES } from './linear-attention';
import { STEP_BYTES } from './linear-step';

export { attention, pack as packKeysValues } from './attention';
export { attentionBackward, backwardPack, backwardReduce, backwardTables } from './attention-backward';
export { binary, unary, unaryBackward } from './elementwise';
export { deltaForward, deltaRecurrent, deltaStates } from './gated-delta-rule';
export { deltaGradients, deltaReverse } from './gated-delta-rule-backward';
export { depthwiseConv, depthwiseWeights } from './depthwise-conv';
export { initialise } from './functions';
export { linearOutputs, linearTotal, linearStates } from './linear-attention';
export { linearHeadSums, linearQuotient, linearStep } from './linear-step';
export { matmul, packPanels, packSlices } from './matmul';
export { peak } from './product';
export { modifyScores } from './program';
export { reluAttention } from './relu-attention';
export { rmsNorm } from './rms-norm';
export { focus, focusBackward, route, routeBank, routeLogits } from './routing';
export { gather, layerNorm, rowwise } from './rows';

/** Bytes of working memory that a worker needs. */
export function scratchBytes(): i32 {
  const attention = max(FORWARD_BYTES, BACKWARD_BYTES);
  const recurrences = max(max(LINEAR_BYTES, STEP_BYTES), max(DELTA_BYTES, DELTA_BACKWARD_BYTES));
  return <i32>((max(attention, recurrences) + 63) & ~63);
}
