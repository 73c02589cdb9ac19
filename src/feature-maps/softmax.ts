import * as ops from '../ops/softmax';
import { defineFeatureMap, type FeatureMap } from './feature-map';

/** e^x over its sum along d: as many features as numbers, positive, with sum 1 (Shen et al. 2018, arXiv 1812.01243). */
export const softmax: FeatureMap = defineFeatureMap({
  name: 'softmax',
  features: (d) => d,
  forward: (x, options) => ops.softmax(x, options),
});
