/** The flag of a cancelled job in the control block. */
export { ABORT, CONTROL } from './schedule';
