import { multiply, subtract } from '../ops/elementwise';
import * as rows from '../ops/rows';
import { defineFeatureMap, type FeatureMap } from './feature-map';

/** e^x over its sum along d: as many features as numbers, positive, with sum 1 (Shen et al. 2018, arXiv 1812.01243). */
export const softmax: FeatureMap = defineFeatureMap({
  name: 'softmax',
  features: (d) => d,
  forward: rows.softmax,
  async backward(x, gradPhi, options) {
    using phi = await rows.softmax(x, options);
    using products = await multiply(phi, gradPhi, options);
    using mean = await rows.sumRows(products, options);
    using deviations = await subtract(gradPhi, mean, options);
    return await multiply(phi, deviations, options);
  },
});
