/** The kernels: each takes the address of its params, a task number, and its worker's working memory. */
import { FORWARD_BYTES } from './attention';
import { BACKWARD_BYTES } from './attention-backward';

export { attention, pack as packKeysValues } from './attention';
export { attentionBackward, backwardPack, backwardReduce, backwardTables } from './attention-backward';
export { initialise } from './functions';
export { matmul, packPanels, packSlices } from './matmul';
export { peak } from './product';
export { modifyScores } from './program';
export { binary, gather, layerNorm, unary } from './rows';

/** Bytes of working memory that a worker needs. */
export function scratchBytes(): i32 {
  return <i32>((max(FORWARD_BYTES, BACKWARD_BYTES) + 63) & ~63);
}
