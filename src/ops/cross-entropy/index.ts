/** Cross entropy of logits and classes. */
import { checkChoice, checkWhole, show } from '../../check';
import { DTypeError, ParameterError, ShapeError } from '../../errors';
import { controlOf } from '../../runtime/guard';
import type { Op } from '../../runtime/op';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkTensors, commonRuntime } from '../check';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import { multiply } from '../map';
import { CrossEntropyParams, kernels, NONE } from './params.generated';
import type { CrossEntropyCall, CrossEntropyGradientCall, MeanLossCall } from './reference';

/** Elements of a task, about. */
const RUN = 16384;

const op: Op<CrossEntropyCall> = {
  name: 'crossEntropy',
  reference: async () => (await import('./reference')).crossEntropy,
  kernels,
  wasm: (call) => planOf('crossEntropy', call, 4 * call.logits.size, Math.ceil(RUN / call.classes)),
  webgpu: async () => (await import('./webgpu')).planCrossEntropy,
  faults: ({ targets, classes, ignore, first }) => [
    {
      ...{ tensor: targets, least: 0, most: classes - 1, except: ignore },
      error: (value, place) =>
        new ShapeError(
          `targets must be classes from 0 to ${classes - 1}${ignore === undefined ? '' : ` or ignore = ${ignore}`}, got ${value} at element ${first + place} of targets`,
        ),
    },
  ],
};

const gradientOp: Op<CrossEntropyGradientCall> = {
  name: 'gradient of crossEntropy',
  reference: async () => (await import('./reference')).crossEntropyGradient,
  kernels,
  wasm: (call) => planOf('crossEntropyGradient', call, 4 * call.logits.size, Math.ceil(RUN / call.classes)),
  webgpu: async () => (await import('./webgpu')).planCrossEntropyGradient,
};

const meanOp: Op<MeanLossCall> = {
  name: 'mean loss',
  reference: async () => (await import('./reference')).meanLoss,
  kernels,
  wasm: (call) => planOf('meanLoss', call, call.losses.size, call.losses.size),
  webgpu: async () => (await import('./webgpu')).planMeanLoss,
};

const NOT_GIVEN = {
  ...{ classes: 0, smoothing: 0, logits: undefined, losses: undefined, lse: undefined },
  ...{ gradLosses: undefined, gradLogits: undefined, out: undefined, share: undefined },
};

function planOf(
  kernel: string,
  call: MeanLossCall | CrossEntropyCall | CrossEntropyGradientCall,
  elements: number,
  together: number,
) {
  const rows = call.targets.size;
  const params = CrossEntropyParams({ ...NOT_GIVEN, ...call, ignore: call.ignore ?? NONE, rows, together });
  return overElements(kernel, Math.ceil(rows / together), params, elements);
}

export interface CrossEntropyOptions extends ResultOptions {
  /** The mean over the rows whose targets are not ignored (default), which is 0 where there are none, or each row's loss. */
  readonly reduction?: 'mean' | 'none' | undefined;
  /** A target, a class or not, whose rows have no loss and no gradient; default: none. */
  readonly ignore?: number | undefined;
  /** The part of a target, from 0 to 1, that is spread over all classes alike; default 0. */
  readonly smoothing?: number | undefined;
}

interface RowSettings extends Pick<CrossEntropyOptions, 'ignore' | 'smoothing'> {
  /** Which of the caller's rows is the first. */
  readonly first?: number;
}

/**
 * log(sum(e^logits)) less the logit of the target, in each row: logits [..., classes] f32, targets [...] i32 -> [], their
 * mean, or [...] without a reduction. With smoothing s the target's logit counts 1 - s and the mean logit s. The gradient
 * is with respect to the logits. Contiguous.
 *
 * @throws {ShapeError} shapes that do not fit, strided views; a target that is no class and not ignored
 * @throws {DTypeError} logits that are not f32, targets that are not i32
 * @throws {ParameterError} options that are none
 */
export function crossEntropy(logits: Tensor, targets: Tensor, options: CrossEntropyOptions = {}): Tensor<'f32'> {
  checkFloat32('crossEntropy', { logits }, options, ['reduction', 'ignore', 'smoothing']);
  if (logits.rank < 1) throw new ShapeError(`logits must have shape [..., classes], got ${formatShape(logits.shape)}`);
  checkTargets(logits.shape.slice(0, -1), { logits, targets });
  checkContiguous({ logits });
  checkLossOptions(options);
  const { reduction = 'mean', out, signal, onProgress, ...settings } = options;
  const control = { signal, onProgress };
  const isMean = reduction === 'mean';
  const ofRows = isMean ? controlOf(control, 0, 2) : { ...control, out };
  const { losses, lse } = lossesOf(logits, targets, settings, ofRows);
  lse.dispose();
  if (!isMean) return losses;
  using rows = losses;
  return meanLoss(rows, targets, options.ignore, { ...controlOf(control, 1, 2), out });
}

/** Throws unless `targets` are i32 and one for each row. */
export function checkTargets(
  shape: readonly number[],
  tensors: Readonly<{ targets: Tensor } & Record<string, Tensor>>,
): void {
  checkTensors(tensors);
  commonRuntime(tensors);
  const { targets } = tensors;
  if (targets.dtype !== 'i32') throw new DTypeError(`targets must be i32, got ${targets.dtype}`);
  if (!sameShape(targets.shape, shape))
    throw new ShapeError(
      `targets must have shape ${formatShape(shape)}, one for each row, got ${formatShape(targets.shape)}`,
    );
  checkContiguous({ targets });
}

export function checkLossOptions({ reduction, ignore, smoothing = 0 }: CrossEntropyOptions): void {
  checkChoice('reduction', reduction, ['mean', 'none']);
  if (ignore !== undefined) checkWhole('ignore', ignore, -(2 ** 31), 2 ** 31 - 1);
  if (!(Number.isFinite(smoothing) && smoothing >= 0 && smoothing <= 1))
    throw new ParameterError(`smoothing must be a number from 0 to 1, got ${show(smoothing)}`);
}

/** The loss of each row of checked arguments, and what its gradient follows from. */
export function lossesOf(logits: Tensor, targets: Tensor, settings: RowSettings, options: ResultOptions) {
  const { ignore, smoothing = 0, first = 0 } = settings;
  const classes = logits.shape.at(-1) as number;
  const { shape } = targets;
  const specs = { out: { shape, dtype: 'f32', given: options.out }, lse: { shape, dtype: 'f32' } } as const;
  const call = ({ out: losses, lse }: Record<'out' | 'lse', Tensor>) => ({
    ...{ logits, targets, losses, lse },
    ...{ classes, ignore, smoothing, first },
  });
  const { out: losses, lse } = compute(op, { logits, targets }, specs, call, options, {
    derivative: {
      saves: ['logits', 'targets', 'lse'],
      gradients(saved, { out: gradLosses }, _, control) {
        const inputs = { ...saved, gradLosses } as Parameters<typeof gradientOf>[0];
        return { logits: gradientOf(inputs, settings, control) };
      },
    },
  });
  return { losses, lse };
}

/** With respect to the logits. */
export function gradientOf(
  inputs: Readonly<Record<'logits' | 'targets' | 'lse' | 'gradLosses', Tensor>>,
  { ignore, smoothing = 0 }: RowSettings,
  options: ResultOptions,
): Tensor<'f32'> {
  const { shape } = inputs.logits;
  const settings = { classes: shape.at(-1) as number, ignore, smoothing };
  const spec = { shape, dtype: 'f32', given: options.out } as const;
  return compute(gradientOp, inputs, { out: spec }, ({ out }) => ({ ...settings, ...inputs, gradLogits: out }), options)
    .out;
}

/** The mean of losses whose targets are not ignored; 0 if there are none. */
export function meanLoss(
  losses: Tensor,
  targets: Tensor,
  ignore: number | undefined,
  options: ResultOptions,
): Tensor<'f32'> {
  const inputs = { losses, targets };
  const specs = { out: { shape: [], dtype: 'f32', given: options.out }, share: { shape: [], dtype: 'f32' } } as const;
  const { shape } = losses;
  const { out, share } = compute(meanOp, inputs, specs, (results) => ({ ...inputs, ignore, ...results }), options, {
    derivative: {
      saves: ['share'],
      gradients: (saved, { out }) => ({ losses: multiply(out as Tensor, saved.share as Tensor).expand(shape) }),
    },
  });
  share.dispose();
  return out;
}
