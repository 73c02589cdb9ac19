import { checkBoolean, checkOptions } from '../check';
import type { TrainableParameters } from '../nn';
import { map } from '../ops/map/map';
import type { Tensor } from '../tensor/tensor';
import { checkNumber, type Optimizer, optimizerOf } from './optimizer';

export interface SgdOptions {
  /** Default 0.01. */
  readonly learningRate?: number | undefined;
  /** Momentum: the factor on the running sum of gradients, from 0 to below 1; default 0.9. */
  readonly momentum?: number | undefined;
  /** Whether to use Nesterov momentum; default false. */
  readonly nesterov?: boolean | undefined;
  /** Weight decay of parameters with two axes, times the learning rate; default 0. */
  readonly weightDecay?: number | undefined;
}

/** Stochastic gradient descent with momentum: m = momentum m + g, w = w - learningRate m. The decay comes before the step. */
export function sgd(parameters: TrainableParameters, options: SgdOptions = {}): Optimizer {
  checkOptions('sgd', options, ['learningRate', 'momentum', 'nesterov', 'weightDecay']);
  const { learningRate = 0.01, momentum = 0.9, nesterov = false, weightDecay = 0 } = options;
  checkNumber('learningRate', learningRate, 0);
  checkNumber('weightDecay', weightDecay, 0);
  checkNumber('momentum', momentum, 0, 1);
  checkBoolean('nesterov', nesterov);
  const [ofGradient, ofSum] = nesterov ? [1, momentum] : [0, 1];
  return optimizerOf(parameters, {
    name: 'sgd',
    learningRate,
    weightDecay,
    carries: ['momentum'],
    update({ weights, gradients, carried }, { size, keep, scale }) {
      const [sums] = carried as [Tensor[]];
      map(
        (w, g, m, { scale, keep, size, momentum, ofGradient, ofSum }) => {
          const each = scale * g;
          const sum = momentum * m + each;
          return [keep * w - size * (ofGradient * each + ofSum * sum), sum];
        },
        weights,
        gradients,
        sums,
        { captured: { scale, keep, size, momentum, ofGradient, ofSum }, dtype: 'f32', out: [weights, sums] },
      );
    },
  });
}
