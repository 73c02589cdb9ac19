/** The kernels of attention, forward and backward. */
import { BACKWARD_BYTES } from './backward.as';
import { DECODE_BYTES } from './decode.as';
import { FORWARD_BYTES } from './forward.as';

export { attentionBackward, backwardPack, backwardReduce, backwardTables } from './backward.as';
export { decode, decodeMerge, decodeQueries } from './decode.as';
export { attention, pack as packKeysValues } from './forward.as';
export { modifyScores } from './program.as';

export const SCRATCH_BYTES: usize = max(max(FORWARD_BYTES, BACKWARD_BYTES), DECODE_BYTES);
