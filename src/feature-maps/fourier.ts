import { show } from '../check';
import { ParameterError } from '../errors';
import { checkOptions } from '../ops/check';
import { add, cos, multiply } from '../ops/map';
import { uniform } from '../tensor/random';
import { checkRandomOptions, drawDirections, featuresDrawn, RANDOM_OPTIONS, type RandomFeatureOptions } from './draw';
import { defineFeatureMap, type FeatureMap } from './feature-map';
import { project } from './project';

export interface FourierOptions extends RandomFeatureOptions {
  /** s of the kernel. Default 1. */
  readonly bandwidth?: number | undefined;
  /**
   * 'pairs': half as many directions w as features (an even number), cos(w x) of each, then sin(w x) of each. 'random':
   * cos(w x + b) with b uniform on the circle. Default 'pairs', which vary less for the same number of features.
   */
  readonly phases?: 'pairs' | 'random' | undefined;
}

/**
 * Random Fourier features: the mean of phi(x) . phi(y) over draws is the Gaussian kernel exp(-|x - y|^2 / (2 s^2)).
 * Single estimates can be negative, so linear attention should not be normalised by them.
 *
 * Source: Rahimi and Recht 2007, "Random Features for Large-Scale Kernel Machines".
 *
 * @throws {ParameterError} an option that is unknown or out of range
 */
export function fourier(options: FourierOptions): FeatureMap {
  checkOptions('fourier', options, [...RANDOM_OPTIONS, 'bandwidth', 'phases']);
  checkRandomOptions(options);
  const { features, seed = 0, bandwidth = 1, phases = 'pairs' } = options;
  if (!(Number.isFinite(bandwidth) && bandwidth > 0))
    throw new ParameterError(`bandwidth must be a finite number > 0, got ${show(bandwidth)}`);
  if (phases !== 'pairs' && phases !== 'random')
    throw new ParameterError(`phases must be pairs or random, got ${show(phases)}`);
  if (phases === 'pairs' && features % 2 !== 0)
    throw new ParameterError(`features must be even with phases: 'pairs', got ${features}`);
  const { directions, angles } = phases === 'pairs' ? pairs(options) : randomPhases(options, seed);
  const frequencies = directions.map((value) => value / bandwidth);
  const factor = Math.sqrt(2 / features);

  return defineFeatureMap({
    name: 'fourier',
    features: featuresDrawn('fourier', options),
    forward(x, control) {
      const angle = add(project(x, frequencies, control), x.runtime.tensor(angles, [features]), control);
      return multiply(cos(angle, control), x.runtime.tensor([factor], []), control);
    },
  });
}

/** Each direction twice; sin t = cos(t - pi / 2). */
function pairs(options: RandomFeatureOptions) {
  const half = options.features / 2;
  const directions = drawDirections(half, options);
  const angles = Float32Array.from({ length: options.features }, (_, i) => (i < half ? 0 : -Math.PI / 2));
  return { directions: new Float32Array([...directions, ...directions]), angles };
}

function randomPhases(options: RandomFeatureOptions, seed: number) {
  const directions = drawDirections(options.features, options);
  // Not the stream that the directions came from.
  return { directions, angles: uniform(options.features, seed + 2 ** 32, 0, 2 * Math.PI) };
}
