/** Batch normalisation of channels, channels last, by statistics of the batch or given ones. */
import type { Control } from '../../runtime/backend';
import type { Tensor } from '../../tensor/tensor';
import { contiguous } from '../copy';
import { defineComposite, f32, group, type Members, number, type OptionsOf } from '../define';
import { add, multiply, rsqrt, subtract } from '../map';
import { mean as meanOf } from '../reduce';

const statistics = group({ mean: f32('c'), variance: f32('c') });
type Statistics = Members<typeof statistics>;

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
  run: ({ x, gain, bias, ...settings }): BatchNormResult =>
    x.runtime.scope(() => {
      const { normal, mean, variance } = normalise(x, settings);
      return { out: add(multiply(normal, gain), bias), mean, variance };
    }),
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
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 */
export function batchNorm(x: Tensor, gain: Tensor, bias: Tensor, options: BatchNormOptions = {}): BatchNormResult {
  return batchNormOp({ x, gain, bias }, options);
}

/** x with mean 0 and variance 1, and the statistics. */
function normalise(x: Tensor, settings: { readonly statistics: Statistics | undefined; readonly epsilon: number }) {
  const { statistics, epsilon } = settings;
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
