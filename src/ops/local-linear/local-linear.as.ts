/** The kernels of local linear attention, forward and backward. */
import { BACKWARD_BYTES } from './backward.as';

export { localLinearKeys, localLinearRows, packRows } from './backward.as';
export { localLinear } from './forward.as';
export { packKeysValues } from './pack.as';

export const SCRATCH_BYTES: usize = BACKWARD_BYTES;
