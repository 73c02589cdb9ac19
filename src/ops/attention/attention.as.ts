/** The kernels of attention, forward and backward. */
import { BACKWARD_BYTES } from './backward.as';
import { FORWARD_BYTES } from './forward.as';

export { attentionBackward, backwardPack, backwardReduce, backwardTables } from './backward.as';
export { attention, pack as packKeysValues } from './forward.as';
export { modifyScores } from './program.as';

export const SCRATCH_BYTES: usize = max(FORWARD_BYTES, BACKWARD_BYTES);
