/** Random numbers made where they are used. */
import { checkChoice, checkOptions, show } from '../../check';
import { ParameterError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { overElements } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import { Runtime } from '../../runtime/runtime';
import type { Shape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkControl } from '../check';
import { DISTRIBUTIONS, type RandomCall } from './call';
import { kernels, RandomParams, RUN } from './params.generated';

const op: Op<RandomCall> = {
  name: 'random',
  reference: async () => (await import('./reference')).random,
  kernels,
  cpu({ out, seed: [low, high], distribution }) {
    const code = DISTRIBUTIONS.indexOf(distribution);
    const params = RandomParams({ low, high, distribution: code, size: out.size, out });
    return overElements('random', Math.ceil(out.size / RUN), params, 2 * out.size);
  },
  webgpu: async () => (await import('./webgpu')).planRandom,
};

export interface RandomOptions extends Control {
  /** An integer; each gives other numbers. Default 0. */
  readonly seed?: number | undefined;
  /** Standard normal, or uniform in [0, 1). Default normal. */
  readonly distribution?: (typeof DISTRIBUTIONS)[number] | undefined;
}

/**
 * Seeded random numbers of a shape, f32, made on the device, for noise and dropout at each step. Uniform ones are the same
 * everywhere, normal ones to about 1e-6 and, on the CPU, to the bit on any number of threads. `runtime.random` makes others
 * on the calling thread, the same to the bit on every backend.
 *
 * @throws {ParameterError} a seed that is no integer, an unknown distribution
 */
export function random(runtime: Runtime, shape: Shape, options: RandomOptions = {}): Tensor<'f32'> {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  checkOptions('random', options, ['seed', 'distribution', 'signal', 'onProgress']);
  checkControl(options);
  const { seed = 0, distribution = 'normal' } = options;
  if (!Number.isSafeInteger(seed)) throw new ParameterError(`seed must be an integer, got ${show(seed)}`);
  checkChoice('distribution', distribution, DISTRIBUTIONS);
  const words = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0] as const;
  return runtime.scope(() => {
    const out = runtime.empty(shape);
    runtime.calls.run(op, { make: () => ({ out, seed: words, distribution }) }, [], [out], options);
    return out;
  });
}
