/** Feature maps for linear attention and kernel methods. */
export { type ArcCosineOptions, arcCosine } from './arc-cosine';
export type { RandomFeatureOptions } from './draw';
export { elu, eluPlusOne, power, relu, silu } from './elementwise';
export type { FeatureMap, FeatureOptions } from './feature-map';
export { type FourierOptions, fourier } from './fourier';
export { type PositiveOptions, positive } from './positive';
export { softmax } from './softmax';
