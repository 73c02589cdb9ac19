/** Parallel convolutions and their batch normalisations as one convolution. */
import { checkRecord, show } from '../../../check';
import { ParameterError, ShapeError } from '../../../errors';
import { foldBatchNorm } from '../../../ops/batch-norm';
import { contiguous, pad } from '../../../ops/copy';
import { add } from '../../../ops/map';
import { formatShape } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import { checkShapes } from '../check';
import { BRANCHES, INPUTS, type LargeKernel, namesOf, OPTIONAL } from './branches';

type Parameters = Readonly<Record<string, Tensor | undefined>>;

/** The kernel and bias of one convolution of each channel. */
export interface MergedConv {
  /** [c, 1, k, k]. */
  readonly weight: Tensor<'f32'>;
  /** [c]. */
  readonly bias: Tensor<'f32'>;
}

/**
 * A dilated reparam block as one convolution, equal up to rounding: parameters under the authors' names, as for the method
 * `dilated-reparam-conv`, f32. Without any branch it is the large kernel alone. Made of ops, so that gradients pass through it.
 *
 * @throws {ParameterError} a parameter that is missing, or of another kernel
 * @throws {ShapeError} a `lk_origin.weight` of another extent
 */
export function mergeDilatedReparam(parameters: Parameters, kernel: LargeKernel): MergedConv {
  if (typeof kernel !== 'number' || !Object.hasOwn(BRANCHES, kernel))
    throw new ParameterError(`kernel must be one of ${Object.keys(BRANCHES).join(', ')}, got ${show(kernel)}`);
  checkRecord('parameters', parameters);
  const { x: _, ...specs } = INPUTS;
  checkShapes('mergeDilatedReparam', specs, parameters, { optional: OPTIONAL });
  const large = needed(parameters, 'lk_origin.weight', kernel);
  if (large.shape[2] !== kernel)
    throw new ShapeError(
      `lk_origin.weight must have shape [c, 1, ${kernel}, ${kernel}] with kernel ${kernel}, got ${formatShape(large.shape)}`,
    );
  const isAlone = !Object.keys(parameters).some((name) => /^dil_/.test(name) && parameters[name]);
  const beside = isAlone ? [] : BRANCHES[kernel].map((branch) => ({ ...branch, names: namesOf(branch) }));
  const branches = [
    { taps: kernel as number, dilation: 1, names: { conv: 'lk_origin', norm: 'origin_bn' } },
    ...beside,
  ];
  const known = branches.flatMap(({ names }) => [names.conv, names.norm]);
  const other = Object.keys(parameters).find(
    (name) => /^dil_/.test(name) && parameters[name] && !known.includes(name.split('.')[0] as string),
  );
  if (other !== undefined)
    throw new ParameterError(`kernel ${kernel} has no '${other}', only ${known.slice(2).join(', ')}`);
  return large.runtime.scope(() =>
    branches
      .map(({ taps, dilation, names }) => {
        const of = (name: string) => needed(parameters, name, kernel);
        const own = of(`${names.conv}.weight`);
        const [gain, shift, mean, variance] = ['weight', 'bias', 'running_mean', 'running_var'].map((each) =>
          of(`${names.norm}.${each}`),
        ) as [Tensor, Tensor, Tensor, Tensor];
        const folded = foldBatchNorm(own, gain, shift, { statistics: { mean, variance } });
        return { weight: widened(folded.weight, taps, dilation, kernel), bias: folded.bias };
      })
      .reduce((sum, { weight, bias }) => ({ weight: add(sum.weight, weight), bias: add(sum.bias, bias) })),
  );
}

function needed(parameters: Parameters, name: string, kernel: number): Tensor {
  const found = parameters[name];
  if (!found) throw new ParameterError(`kernel ${kernel} needs '${name}', which is missing`);
  return found;
}

/** Kernels [c, 1, taps, taps] with zeros between the taps and around them, [c, 1, extent, extent]. */
function widened(weight: Tensor<'f32'>, taps: number, dilation: number, extent: number): Tensor<'f32'> {
  const [c] = weight.shape as [number];
  const reach = (taps - 1) * dilation + 1;
  const around = (extent - reach) / 2;
  const apart = [0, dilation - 1] as const;
  const spaced = pad(weight.reshape([c, taps, 1, taps, 1]), [[0, 0], [0, 0], apart, [0, 0], apart]);
  const whole = spaced.reshape([c, 1, taps * dilation, taps * dilation]);
  const cut = contiguous(whole.slice(2, 0, reach).slice(3, 0, reach));
  return pad(cut, [
    [0, 0],
    [0, 0],
    [around, around],
    [around, around],
  ]);
}
