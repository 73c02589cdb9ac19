/** Batch normalisation of channels, channels last, by statistics of the batch or given ones. */
import { checkKnown, show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkOptions, checkTensors } from '../check';
import { contiguous } from '../copy';
import { checkContiguous, checkFloat32 } from '../float32';
import { add, multiply, rsqrt, subtract } from '../map';
import { mean as meanOf } from '../reduce';

export interface BatchNormOptions extends Control {
  /** Both [c], such as running averages; default: those of the batch, through which gradients then pass. */
  readonly statistics?: { readonly mean: Tensor; readonly variance: Tensor } | undefined;
  /** Added to the variance; default 1e-5. */
  readonly epsilon?: number | undefined;
}

export interface BatchNormResult {
  /** In the shape of x. */
  readonly out: Tensor<'f32'>;
  /** [c]: what was used; the variance is over the count, not count - 1. */
  readonly mean: Tensor<'f32'>;
  readonly variance: Tensor<'f32'>;
}

/**
 * (x - mean) / sqrt(variance + epsilon) * gain + bias for every channel: x [..., c], gain [c], bias [c], f32, contiguous.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 */
export function batchNorm(x: Tensor, gain: Tensor, bias: Tensor, options: BatchNormOptions = {}): BatchNormResult {
  checkProblem('batchNorm', { x, gain, bias }, options);
  return x.runtime.scope(() => {
    const { normal, mean, variance } = normalise(x, options);
    return { out: add(multiply(normal, gain), bias), mean, variance };
  });
}

/** x with mean 0 and variance 1, and the statistics. */
function normalise(x: Tensor, { statistics, epsilon = 1e-5 }: BatchNormOptions) {
  const mean = statistics ? contiguous(statistics.mean as Tensor<'f32'>) : meanOf(x, places(x));
  const centred = subtract(x, mean);
  const variance = statistics
    ? contiguous(statistics.variance as Tensor<'f32'>)
    : meanOf(multiply(centred, centred), places(x));
  const factor = rsqrt(add(variance, x.runtime.tensor([epsilon], [])));
  return { normal: multiply(centred, factor), mean, variance };
}

/** All axes but that of the channels. */
const places = ({ shape }: Tensor) => ({ axes: [...shape.keys()].slice(0, -1) });

function checkStatistics(statistics: NonNullable<BatchNormOptions['statistics']>): void {
  checkKnown('statistics', statistics, ['mean', 'variance'], (name) => `statistics have no '${name}'`);
  checkTensors({ mean: statistics.mean, variance: statistics.variance });
}

function checkProblem(
  op: string,
  inputs: Readonly<Record<'x' | 'gain', Tensor>> & Readonly<Record<string, Tensor>>,
  options: BatchNormOptions,
): void {
  checkOptions(op, options, ['statistics', 'epsilon', 'signal', 'onProgress']);
  const { statistics, epsilon = 1e-5, ...control } = options;
  if (statistics !== undefined) checkStatistics(statistics);
  const tensors = { ...inputs, ...statistics };
  checkFloat32(op, tensors, control);
  checkContiguous(tensors);
  const { x } = inputs;
  if (x.rank < 1) throw new ShapeError(`x must have shape [..., c], got ${formatShape(x.shape)}`);
  for (const [name, { shape }] of Object.entries(tensors)) {
    const wanted = name === 'x' ? x.shape : x.shape.slice(-1);
    if (!sameShape(shape, wanted))
      throw new ShapeError(
        `${name} must have shape ${formatShape(wanted)} for x ${formatShape(x.shape)}, got ${formatShape(shape)}`,
      );
  }
  if (!(Number.isFinite(epsilon) && epsilon >= 0))
    throw new ParameterError(`epsilon must be a finite number >= 0, got ${show(epsilon)}`);
}
