import { checkChoice, checkKnown, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { batchNorm } from '../ops/batch-norm';
import { add, multiply } from '../ops/map';
import { stopGradient } from '../tape';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { defineModule, type Module } from './module';
import { checkSizes, ROW_NORMS, type RowNormConfig, rowNorm } from './row-norm';

export interface NormConfig extends Pick<RowNormConfig, 'width'> {
  /**
   * Divides rows by their root mean square, with a factor for each channel (default), with 1 + weight as factors, or without, or
   * centres them first; `batch` does so with channels over the batch.
   */
  readonly kind?: (typeof KINDS)[number] | undefined;
  /** Under the root; default 1e-6, and of `layer` and `batch` 1e-5. */
  readonly epsilon?: number | undefined;
  /** The share of a batch in the running statistics of `batch`, from 0 to 1; default 0.1. */
  readonly momentum?: number | undefined;
}

const KINDS = [...ROW_NORMS, 'batch'] as const;

/**
 * x [..., width] -> the same: `rmsNorm` with the parameter `weight` [width], with factors 1 + `weight` ('unit-rms', as in Gemma),
 * without any ('simple-rms', as in TransNormerLLM), `layerNorm` with `weight` and `bias`, or `batchNorm` with these and the buffers `running_mean` and `running_var` [width]. In
 * training that takes the statistics of the batch, which move the running ones; in inference it takes the running ones.
 *
 * @throws {ParameterError} a setting that is unknown or out of range
 */
export function norm(config: NormConfig): Module {
  checkKnown('config', config, ['kind', 'width', 'epsilon', 'momentum'], (name) => `config has no '${name}'`);
  const { kind = 'rms', width, epsilon, momentum } = config;
  checkChoice('kind', kind, KINDS);
  checkSizes(config);
  if (momentum !== undefined && !(kind === 'batch' && Number.isFinite(momentum) && momentum >= 0 && momentum <= 1))
    throw new ParameterError(`momentum must be a number from 0 to 1, of kind batch only, got ${show(momentum)}`);
  return kind === 'batch' ? batch(width, epsilon, momentum) : rowNorm({ kind, width, epsilon });
}

function batch(width: number, epsilon: number | undefined, momentum = 0.1): Module {
  const ones = { shape: [width], initial: { value: 1 } };
  const zeros = { shape: [width], initial: { value: 0 } };
  return defineModule({
    name: 'batch norm',
    parameters: {
      weight: ones,
      bias: zeros,
      running_mean: { ...zeros, isBuffer: true },
      running_var: { ...ones, isBuffer: true },
    },
    forward(x, { weight, bias, running_mean, running_var }, { signal, training }) {
      const statistics = { mean: running_mean, variance: running_var };
      if (!training) return batchNorm(x, weight, bias, { statistics, epsilon, signal }).out;
      const count = x.size / width;
      if (!(count > 1))
        throw new ShapeError(
          `x must have at least two values of each channel to train on, got ${formatShape(x.shape)}`,
        );
      const { out, mean, variance } = batchNorm(x, weight, bias, { epsilon, signal });
      training.update(running_mean, moved(running_mean, mean, momentum));
      // As in PyTorch, of the count less one.
      training.update(running_var, moved(running_var, variance, momentum, count / (count - 1)));
      return out;
    },
  });
}

/** The running statistic after a batch with another one, times `factor`; by ops that need no parser of functions. */
function moved(running: Tensor, batch: Tensor, momentum: number, factor = 1): Tensor {
  const by = (x: Tensor, weight: number) => multiply(x, x.runtime.tensor([weight], [1]));
  return add(by(running, 1 - momentum), by(stopGradient(batch), momentum * factor));
}
