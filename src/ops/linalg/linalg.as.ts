/** The kernels of linear algebra. */
import { BLOCK_BYTES } from './cholesky.as';
import { REFLECT_BYTES } from './reflections.as';

export { cholesky, choleskyBlock, choleskyCheck, choleskyPack, choleskyRows, choleskyStore } from './cholesky.as';
export {
  eighCheck,
  eighChunk,
  eighColumn,
  eighMultiply,
  eighOrder,
  eighRotate,
  eighRotations,
  eighScale,
  eighSigns,
  eighStore,
  eighTriangle,
  eighUpdate,
  eighVectors,
  eighWiden,
} from './eigh.as';
export { lu } from './lu.as';
export { qrBasis, qrBlock, qrStore, qrUpdate, qrWiden } from './qr.as';
export { beginRefinement, correct, judgeResidual, residual } from './refine.as';
export { svd, svdProducts, svdRotate, svdWiden } from './svd.as';
export { packTriangle, triangularSolve } from './triangular-solve.as';

export const SCRATCH_BYTES: usize = BLOCK_BYTES > REFLECT_BYTES ? BLOCK_BYTES : REFLECT_BYTES;
