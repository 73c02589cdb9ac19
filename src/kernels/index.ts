/** Kernels of points: their matrices, products that never hold one, and regression by them. */
export {
  type ConjugateGradientsOptions,
  type ConjugateGradientsResult,
  conjugateGradients,
} from './conjugate-gradients';
export type { Kernel } from './kernel';
export { kernelDiagonal, kernelMatrix, kernelProduct } from './matrix';
export { fitKernelRidge, type KernelRidge, type KernelRidgeOptions } from './ridge';
