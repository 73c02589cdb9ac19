/** The kernels of linear attention: passes over all tokens, and single steps. */
import { LINEAR_BYTES } from './memory.as';
import { STEP_BYTES } from './step.as';

export { linearOutputs, linearStates, linearTotal } from './passes.as';
export { linearHeadSums, linearQuotient, linearStep } from './step.as';

export const SCRATCH_BYTES: usize = max(LINEAR_BYTES, STEP_BYTES);
