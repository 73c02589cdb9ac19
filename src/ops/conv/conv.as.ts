/** Convolutions of one to three spatial axes, in any layout; channels in groups, four of which are in a vector, or dense. */
import { DENSE_BYTES } from './dense.as';
import { FOURIER_BYTES } from './fourier.as';
import { GROUPED_BYTES } from './grouped.as';
import { NEAR_BYTES } from './near.as';

export const SCRATCH_BYTES: usize = max(max(DENSE_BYTES, GROUPED_BYTES), max(FOURIER_BYTES, NEAR_BYTES));

export { convDense, packKernels } from './dense.as';
export { convFourier } from './fourier.as';
export { convGrouped } from './grouped.as';
export { convNear } from './near.as';
