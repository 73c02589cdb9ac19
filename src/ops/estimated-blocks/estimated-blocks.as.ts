/** Kernels of estimated blocks: rows in integers, then the comparisons. */
import { COMPARE_BYTES } from './compare.as';
import { PREPARE_BYTES } from './prepare.as';

export { estimateBlocks } from './compare.as';
export { estimateKeys, estimateQueries } from './prepare.as';

export const SCRATCH_BYTES: usize = max(COMPARE_BYTES, PREPARE_BYTES);
