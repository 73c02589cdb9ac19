/** Random numbers made where they are used. */
import type { Control } from '../../runtime/backend';
import { overElements } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import type { Runtime } from '../../runtime/runtime';
import { checkShape, type Shape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { aRuntime, choice, defineComposite, type OptionsOf, type Setting, whole } from '../define';
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

const extents: Setting<Shape> = {
  expected: 'an array of extents',
  check(name, shape) {
    checkShape(name, shape as Shape);
    return shape as Shape;
  },
};

/** @internal */
export const randomOp = defineComposite({
  name: 'random',
  inputs: {
    runtime: aRuntime,
    shape: extents,
  },
  options: {
    /** Each gives other numbers. Default 0. */
    seed: whole({}, 0),
    /** Standard normal, or uniform in [0, 1). Default normal. */
    distribution: choice('normal', ...DISTRIBUTIONS),
  },
  run({ runtime, shape, seed, distribution }, control) {
    const words = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0] as const;
    return runtime.scope(() => {
      const out = runtime.empty(shape);
      runtime.calls.run(op, { make: () => ({ out, seed: words, distribution }) }, [], [out], control);
      return out;
    });
  },
});

export interface RandomOptions extends OptionsOf<typeof randomOp>, Control {}

/**
 * Seeded random numbers of a shape, f32, made on the device, for noise and dropout at each step. Uniform ones are the same
 * everywhere, normal ones to about 1e-6 and, on the CPU, to the bit on any number of threads. `runtime.random` makes others
 * on the calling thread, the same to the bit on every backend.
 *
 * @throws {ParameterError} a seed that is no integer, an unknown distribution
 */
export const random = (runtime: Runtime, shape: Shape, options?: RandomOptions): Tensor<'f32'> =>
  randomOp({ runtime, shape }, options);
