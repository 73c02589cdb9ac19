import { multiply, subtract } from '../ops/map';
import { sum } from '../ops/reduce';
import * as ops from '../ops/softmax';
import { defineFeatureMap, type FeatureMap } from './feature-map';

/** e^x over its sum along d: as many features as numbers, positive, with sum 1 (Shen et al. 2018, arXiv 1812.01243). */
export const softmax: FeatureMap = defineFeatureMap({
  name: 'softmax',
  features: (d) => d,
  forward: ops.softmax,
  backward(x, gradPhi, options) {
    using phi = ops.softmax(x, options);
    using products = multiply(phi, gradPhi, options);
    using mean = sum(products, { axes: [-1], keepDims: true, ...options });
    using deviations = subtract(gradPhi, mean, options);
    return multiply(phi, deviations, options);
  },
});
