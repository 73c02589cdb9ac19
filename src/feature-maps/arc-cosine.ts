import { show } from '../check';
import { ParameterError } from '../errors';
import { checkOptions } from '../ops/check';
import { multiply, relu, step } from '../ops/map';
import { checkRandomOptions, drawDirections, featuresDrawn, RANDOM_OPTIONS, type RandomFeatureOptions } from './draw';
import { elementwise, power } from './elementwise';
import { defineFeatureMap, type FeatureMap } from './feature-map';
import { project } from './project';

export interface ArcCosineOptions extends RandomFeatureOptions {
  /** n of the kernel: 0, 1 (default) or 2. */
  readonly degree?: 0 | 1 | 2 | undefined;
}

/**
 * Random features of the arc-cosine kernels: sqrt(2 / m) max(w x, 0)^n, for n = 0 the step function. With t the angle
 * between x and y, the mean of phi(x) . phi(y) over draws is |x|^n |y|^n J_n(t) / pi, where J_0 = pi - t,
 * J_1 = sin t + (pi - t) cos t and J_2 = 3 sin t cos t + (pi - t) (1 + 2 cos^2 t). The features of degree 0 have gradient 0.
 *
 * Source: Cho and Saul 2009, "Kernel Methods for Deep Learning".
 *
 * @throws {ParameterError} an option that is unknown or out of range
 */
export function arcCosine(options: ArcCosineOptions): FeatureMap {
  checkOptions('arcCosine', options, [...RANDOM_OPTIONS, 'degree']);
  checkRandomOptions(options);
  const { degree = 1, features } = options;
  if (![0, 1, 2].includes(degree)) throw new ParameterError(`degree must be 0, 1 or 2, got ${show(degree)}`);
  const directions = drawDirections(features, options);
  const shape = degree === 2 ? power(2) : degree === 1 ? elementwise('relu', relu) : elementwise('step', step);
  const factor = Math.sqrt(2 / features);
  return defineFeatureMap({
    name: `arcCosine-${degree}`,
    features: featuresDrawn('arcCosine', options),
    forward(x, control) {
      const unscaled = shape.forward(project(x, directions, control), control);
      return multiply(unscaled, x.runtime.tensor([factor], []), control);
    },
  });
}
