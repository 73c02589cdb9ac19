/** Kernels of points: their matrices, products that never hold one, and regression by them. */
export {
  type ConjugateGradientsOptions,
  type ConjugateGradientsResult,
  conjugateGradients,
} from './conjugate-gradients';
export { type CrossValidation, type CrossValidationOptions, crossValidateKernelRidge } from './cross-validate';
export { type FeatureRidge, type FeatureRidgeOptions, fitFeatureRidge } from './feature-ridge';
export {
  createGaussianProcess,
  fitGaussianProcess,
  type GaussianProcess,
  type GaussianProcessOptions,
  type MarginalLikelihood,
  type MarginalLikelihoodOptions,
  marginalLikelihood,
} from './gaussian-process';
export type { Kernel } from './kernel';
export { kernelDiagonal, kernelMatrix, kernelProduct } from './matrix';
export { createKernelRidge, fitKernelRidge, type KernelRidge, type KernelRidgeOptions } from './ridge';
export {
  bestFittingRatio,
  bestRidge,
  featureRisk,
  type PowerLaw,
  powerLawRisk,
  type Risk,
  type RiskOptions,
} from './risk';
