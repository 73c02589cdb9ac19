/** Batch normalisation of channels, channels last, by statistics of the batch or given ones. */
import { ParameterError, ShapeError } from '../../errors';
import { apply } from '../../expressions/expression';
import type { Control } from '../../runtime/backend';
import { formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { contiguous } from '../copy';
import { defineComposite, f32, group, type Members, type Needing, number, type OptionsOf } from '../define';
import { add, multiply, rsqrt, subtract } from '../map';
import { mapOne } from '../map/core';
import { ElementwiseFunction, element } from '../map/function';
import { mean as meanOf } from '../reduce';

const statistics = group({ mean: f32('c'), variance: f32('c') });
type Statistics = Members<typeof statistics>;

// As expressions, not functions, whose parser a page with networks need not load.
const [centred, factor, gain, bias] = [apply('subtract', element(0), element(1)), element(2), element(3), element(4)];
/** (x - mean) factor gain + bias. */
const normalised = new ElementwiseFunction('batchNorm', 5, [
  apply('add', apply('multiply', apply('multiply', centred, factor), gain), bias),
]);
const squaredDistance = new ElementwiseFunction('squares of batchNorm', 2, [apply('multiply', centred, centred)]);

export const batchNormOp = defineComposite({
  name: 'batchNorm',
  inputs: { x: f32('... c'), gain: f32('c'), bias: f32('c') },
  options: {
    /** Both [c], such as running averages; default: those of the batch, through which gradients then pass. */
    statistics,
    /** Added to the variance; default 1e-5. */
    epsilon: number({ least: 0 }, 1e-5),
  },
  results: {
    out: f32('... c', { fresh: true }),
    mean: f32('c', { fresh: true }),
    variance: f32('c', { fresh: true }),
  },
  operations: '8 ... c',
  run: ({ x, gain, bias, ...settings }): BatchNormResult => {
    if (!settings.statistics && x.size === gain.size)
      throw new ShapeError(
        `x ${formatShape(x.shape)} has one number a channel, of which there is no variance: pass statistics, or more numbers`,
      );
    return x.runtime.scope(() => {
      const { mean, variance } = statisticsOf(x, settings.statistics);
      const factor = rsqrt(add(variance, x.runtime.tensor([settings.epsilon], [])));
      return { out: mapOne(normalised, { x, mean, factor, gain, bias }), mean, variance };
    });
  },
});

export interface BatchNormOptions extends OptionsOf<typeof batchNormOp>, Control {}

export interface BatchNormResult {
  /** In the shape of x. */
  readonly out: Tensor<'f32'>;
  /** [c]: what was used; the variance is over the count, not count - 1. */
  readonly mean: Tensor<'f32'>;
  readonly variance: Tensor<'f32'>;
}

/**
 * (x - mean) / sqrt(variance + epsilon) * gain + bias for every channel: x [..., c], gain [c], bias [c], f32, contiguous.
 * Numbers must be small enough for their variance to be one of f32: about 1e19.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views, one number a channel without statistics
 */
export function batchNorm(x: Tensor, gain: Tensor, bias: Tensor, options: BatchNormOptions = {}): BatchNormResult {
  return batchNormOp({ x, gain, bias }, options);
}

/** @internal */
export const foldBatchNormOp = defineComposite({
  name: 'foldBatchNorm',
  inputs: { weight: f32('...', { strided: true }), gain: f32('o'), bias: f32('o') },
  options: {
    statistics,
    /** Added to the variance; default 1e-5. */
    epsilon: number({ least: 0 }, 1e-5),
    /** [o]: the convolution's own; default: none. */
    convBias: f32('o'),
  },
  results: { weight: f32('...', { fresh: true }), bias: f32('o', { fresh: true }) },
  run: ({ weight, gain, bias, statistics, epsilon, convBias }): FoldedConv => {
    if (!statistics) throw new ParameterError('statistics must be given, mean and variance of each channel');
    if (weight.shape[0] !== gain.size)
      throw new ShapeError(
        `weight must have shape [${gain.size}, ...] with an axis for the channels of gain in front, got ${formatShape(weight.shape)}`,
      );
    return weight.runtime.scope(() => {
      const mean = contiguous(statistics.mean as Tensor<'f32'>);
      const root = rsqrt(add(contiguous(statistics.variance as Tensor<'f32'>), weight.runtime.tensor([epsilon], [])));
      const factor = multiply(gain, root);
      const shift = convBias ? subtract(mean, convBias) : mean;
      const columns = factor.reshape([-1, ...new Array(weight.rank - 1).fill(1)]);
      return {
        weight: multiply(contiguous(weight as Tensor<'f32'>), columns),
        bias: subtract(bias, multiply(shift, factor)),
      };
    });
  },
});

export interface FoldBatchNormOptions extends Needing<OptionsOf<typeof foldBatchNormOp>, 'statistics'>, Control {}

export interface FoldedConv {
  /** In the shape of the convolution's. */
  readonly weight: Tensor<'f32'>;
  /** [o]. */
  readonly bias: Tensor<'f32'>;
}

/**
 * The weight [o, ...] and bias of a convolution, or of a linear layer, that gives what batch normalisation by given statistics
 * makes of its result; f32. Made of ops, so that gradients pass through it.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 * @throws {ParameterError} statistics that are missing
 */
export const foldBatchNorm = (weight: Tensor, gain: Tensor, bias: Tensor, options: FoldBatchNormOptions): FoldedConv =>
  foldBatchNormOp({ weight, gain, bias }, options);

/** Copies of the given ones, else those of the batch. */
function statisticsOf(x: Tensor, given: Statistics | undefined) {
  if (given)
    return {
      mean: contiguous(given.mean as Tensor<'f32'>),
      variance: contiguous(given.variance as Tensor<'f32'>),
    };
  const mean = meanOf(x, places(x));
  const squares = mapOne(squaredDistance, { x, mean });
  return { mean, variance: meanOf(squares, places(x)) };
}

/** All axes but that of the channels. */
const places = ({ shape }: Tensor) => ({ axes: [...shape.keys()].slice(0, -1) });
