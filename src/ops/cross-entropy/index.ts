/** Cross entropy of logits and classes. */
import { ShapeError } from '../../errors';
import { overElements } from '../../runtime/cpu/plan';
import { controlOf } from '../../runtime/guard';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { choice, defineComposite, defineOp, f32, i32, number, type OptionsOf, optional, whole } from '../define';
import type { ResultOptions } from '../float32';
import { multiply } from '../map';
import { CrossEntropyParams, kernels, NONE } from './params.generated';
import type { MeanLossCall } from './reference';

/** Elements of a task, about. */
const RUN = 16384;

const NOT_GIVEN = {
  classes: 0,
  smoothing: 0,
  logits: undefined,
  losses: undefined,
  lse: undefined,
  gradLosses: undefined,
  gradLogits: undefined,
  out: undefined,
  share: undefined,
};

function planOf(
  kernel: string,
  call: Omit<Partial<Parameters<typeof CrossEntropyParams>[0]>, 'ignore'> & Pick<MeanLossCall, 'targets' | 'ignore'>,
  elements: number,
  together: number,
) {
  const rows = call.targets.size;
  const params = CrossEntropyParams({ ...NOT_GIVEN, ...call, ignore: call.ignore ?? NONE, rows, together });
  return overElements(kernel, Math.ceil(rows / together), params, elements);
}

const rowSettings = {
  /** A target, a class or not, whose rows have no loss and no gradient; default: none. */
  ignore: optional(whole({ least: -(2 ** 31), most: 2 ** 31 - 1 })),
  /** The part of a target, from 0 to 1, that is spread over all classes alike; default 0. */
  smoothing: number({ least: 0, most: 1 }, 0),
};

export const lossSettings = {
  /** The mean over the rows whose targets are not ignored (default), which is 0 where there are none, or each row's loss. */
  reduction: choice('mean', 'mean', 'none'),
  ...rowSettings,
};

const withClasses = ({ logits }: { readonly logits: Tensor }) => ({ classes: logits.shape.at(-1) as number });

/** The gradient with respect to the logits. */
export const gradientOp = defineOp({
  name: 'gradient of crossEntropy',
  inputs: { logits: f32('... classes'), targets: i32('...'), lse: f32('...'), gradLosses: f32('...') },
  options: rowSettings,
  results: { out: f32('... classes') },
  operations: '4 ... classes',
  more: withClasses,
  reference: async () => (await import('./reference')).crossEntropyGradient,
  kernels,
  cpu: ({ out: gradLogits, ...call }) =>
    planOf('crossEntropyGradient', { ...call, gradLogits }, 4 * call.logits.size, Math.ceil(RUN / call.classes)),
  webgpu: async () => (await import('./webgpu')).planCrossEntropyGradient,
});

/** The loss of each row, and what its gradient follows from. */
export const lossesOp = defineOp({
  name: 'rows of crossEntropy',
  inputs: { logits: f32('... classes'), targets: i32('...') },
  options: {
    ...rowSettings,
    /** Which of the caller's rows is the first, for messages. */
    first: whole({ least: 0 }, 0),
  },
  results: { out: f32('...'), lse: f32('...', { fresh: true }) },
  operations: '4 ... classes',
  more: withClasses,
  reference: async () => (await import('./reference')).crossEntropy,
  kernels,
  cpu: ({ out: losses, ...call }) =>
    planOf('crossEntropy', { ...call, losses }, 4 * call.logits.size, Math.ceil(RUN / call.classes)),
  webgpu: async () => (await import('./webgpu')).planCrossEntropy,
  faults: ({ targets, classes, ignore, first }) => [
    {
      tensor: targets,
      least: 0,
      most: classes - 1,
      except: ignore,
      error: (value, place) =>
        new ShapeError(
          `targets must be classes from 0 to ${classes - 1}${ignore === undefined ? '' : ` or ignore = ${ignore}`}, got ${value} at element ${first + place} of targets`,
        ),
    },
  ],
  derivative: ({ ignore, smoothing }): Derivative => ({
    saves: ['logits', 'targets', 'lse'],
    gradients(saved, { out: gradLosses }, _, control) {
      const inputs = { ...(saved as Record<'logits' | 'targets' | 'lse', Tensor>), gradLosses: gradLosses as Tensor };
      return { logits: gradientOp(inputs, { ignore, smoothing, ...control }).out };
    },
  }),
});

/** The mean of losses whose targets are not ignored, 0 if there are none, and 1 over their number. @internal */
export const meanOp = defineOp({
  name: 'mean loss',
  inputs: { losses: f32('...'), targets: i32('...') },
  options: { ignore: rowSettings.ignore },
  results: { out: f32(''), share: f32('', { fresh: true }) },
  reference: async () => (await import('./reference')).meanLoss,
  kernels,
  cpu: (call) => planOf('meanLoss', call, call.losses.size, call.losses.size),
  webgpu: async () => (await import('./webgpu')).planMeanLoss,
  derivative: ({ losses: { shape } }): Derivative => ({
    saves: ['share'],
    gradients: ({ share }, { out }) => ({ losses: multiply(out as Tensor, share as Tensor).expand(shape) }),
  }),
});

/** The first of the results; the other is for the backward pass. */
export function meanLoss(losses: Tensor, targets: Tensor, ignore: number | undefined, options: ResultOptions) {
  const { out, share } = meanOp({ losses, targets }, { ignore, ...options });
  share.dispose();
  return out;
}

export const crossEntropyOp = defineComposite({
  name: 'crossEntropy',
  inputs: { logits: f32('... classes'), targets: i32('...') },
  options: lossSettings,
  results: { out: f32('...') },
  operations: '4 ... classes',
  run({ logits, targets, reduction, ...settings }, options) {
    const isMean = reduction === 'mean';
    const { out: losses, lse } = lossesOp(
      { logits, targets },
      { ...settings, ...(isMean ? controlOf(options, 0, 2) : options) },
    );
    lse.dispose();
    if (!isMean) return losses;
    using rows = losses;
    return meanLoss(rows, targets, settings.ignore, { ...options, ...controlOf(options, 1, 2) });
  },
});

export interface CrossEntropyOptions extends OptionsOf<typeof crossEntropyOp>, ResultOptions {}

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
  return crossEntropyOp({ logits, targets }, options);
}
