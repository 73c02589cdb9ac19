/** The kernels of linear algebra. */
import { BLOCK_BYTES } from './cholesky.as';

export { cholesky, choleskyBlock, choleskyCheck, choleskyPack, choleskyRows, choleskyStore } from './cholesky.as';
export { eigh } from './eigh.as';
export { lu } from './lu.as';
export { qr } from './qr.as';
export { correct, residual } from './refine.as';
export { svd } from './svd.as';
export { packTriangle, triangularSolve } from './triangular-solve.as';

export const SCRATCH_BYTES: usize = BLOCK_BYTES;
