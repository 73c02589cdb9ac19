import { checkNumbers, checkOptions } from '../check';
import { ParameterError } from '../errors';
import type { TrainableParameters } from '../nn';
import { map } from '../ops/map/map';
import type { Tensor } from '../tensor/tensor';
import { checkNumber, type Optimizer, optimizerOf, type Rule } from './optimizer';

export interface AdamwOptions {
  /** Default 0.001. */
  readonly learningRate?: number | undefined;
  /** The decay rates of the running means of gradients and of their squares; default [0.9, 0.999]. */
  readonly betas?: readonly [number, number] | undefined;
  /** Added to the root of the mean square; default 1e-8. */
  readonly epsilon?: number | undefined;
  /** Weight decay of parameters with two axes, times the learning rate; default 0.01. */
  readonly weightDecay?: number | undefined;
}

/**
 * AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101): each element moves by its mean gradient over the root of its mean
 * square, both corrected for their start from zero; the decay comes before the step.
 */
export function adamw(parameters: TrainableParameters, options: AdamwOptions = {}): Optimizer {
  return optimizerOf(parameters, adamwRule(options));
}

export function adamwRule(options: AdamwOptions): Rule {
  checkOptions('adamw', options, ['learningRate', 'betas', 'epsilon', 'weightDecay']);
  const { learningRate = 0.001, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01 } = options;
  checkNumbers('betas', betas, 'from 0 to below 1', (beta) => beta >= 0 && beta < 1);
  if (betas.length !== 2) throw new ParameterError(`betas must be two numbers, got ${betas.length as number}`);
  checkNumber('learningRate', learningRate, 0);
  checkNumber('epsilon', epsilon, 0);
  checkNumber('weightDecay', weightDecay, 0);
  const [beta1, beta2] = betas;
  const [rest1, rest2] = [1 - beta1, 1 - beta2];
  return {
    name: 'adamw',
    learningRate,
    weightDecay,
    carries: ['mean', 'square'],
    update({ weights, gradients, carried }, { size, keep, scale, step }) {
      const [means, squares] = carried as [Tensor[], Tensor[]];
      const step1 = size / (1 - beta1 ** step);
      const root2 = 1 / Math.sqrt(1 - beta2 ** step);
      map(
        (w, g, m, v, { scale, keep, beta1, rest1, beta2, rest2, step1, root2, epsilon }) => {
          const each = scale * g;
          const mean = beta1 * m + rest1 * each;
          const square = beta2 * v + rest2 * each * each;
          return [keep * w - (step1 * mean) / (root2 * Math.sqrt(square) + epsilon), mean, square];
        },
        weights,
        gradients,
        means,
        squares,
        {
          captured: { scale, keep, beta1, rest1, beta2, rest2, step1, root2, epsilon },
          dtype: 'f32',
          out: [weights, means, squares],
        },
      );
    },
  };
}
