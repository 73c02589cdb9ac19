/** Kernels of points: their matrices, and products that never hold one. */
export type { Kernel } from './kernel';
export { kernelDiagonal, kernelMatrix, kernelProduct } from './matrix';
