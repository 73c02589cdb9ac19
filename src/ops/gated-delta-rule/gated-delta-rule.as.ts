/** The kernels of the gated delta rule, forward and backward. */
import { DELTA_BACKWARD_BYTES } from './backward.as';
import { DELTA_BYTES } from './forward.as';

export { deltaGradients, deltaReverse } from './backward.as';
export { deltaForward, deltaRecurrent, deltaStates } from './forward.as';

export const SCRATCH_BYTES: usize = max(DELTA_BYTES, DELTA_BACKWARD_BYTES);
