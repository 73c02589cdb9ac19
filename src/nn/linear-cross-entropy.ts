import { checkWhole } from '../check';
import { ShapeError } from '../errors';
import { checkControl, checkOptions } from '../ops/check';
import { concat } from '../ops/copy';
import { type CrossEntropyOptions, checkLossOptions, checkTargets, lossesOf, meanLoss } from '../ops/cross-entropy';
import { checkContiguous, checkFloat32 } from '../ops/float32';
import { matmul } from '../ops/matmul';
import type { Control } from '../runtime/backend';
import { controlOf } from '../runtime/turns';
import { recompute } from '../tape';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

export interface LinearCrossEntropyOptions extends Omit<CrossEntropyOptions, 'out'> {
  /** Rows whose logits are there at once. Default: those of 64 MiB, at least 64. */
  readonly chunk?: number | undefined;
}

/** Logits that are there at once. */
const LOGITS = 2 ** 24;
const FEWEST_ROWS = 64;

/**
 * `crossEntropy` of the logits x weight^T, which are there for a few rows at a time only: x [n, d], weight [classes, d],
 * both f32, targets [n] i32 -> [], or [n] without a reduction. The backward pass computes the logits again, since to keep
 * gradients from the forward pass would take as much memory as weight, whether they are wanted or not.
 *
 * @throws {ShapeError} shapes that do not fit, strided views; a target that is no class and not ignored
 * @throws {DTypeError} x or weight that are not f32, targets that are not i32
 * @throws {ParameterError} options that are none
 */
export function linearCrossEntropy(
  x: Tensor,
  weight: Tensor,
  targets: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor<'f32'> {
  checkFloat32('linearCrossEntropy', { x, weight }, {});
  checkOptions('linearCrossEntropy', options, ['chunk', 'reduction', 'ignore', 'smoothing', 'signal', 'onProgress']);
  checkControl(options);
  checkContiguous({ x, weight });
  if (x.rank !== 2) throw new ShapeError(`x must have shape [n, d], got ${formatShape(x.shape)}`);
  const [n, d] = x.shape as [number, number];
  if (weight.rank !== 2 || weight.shape[1] !== d)
    throw new ShapeError(
      `weight must have shape [classes, d] with d = ${d} as in x ${formatShape(x.shape)}, got ${formatShape(weight.shape)}`,
    );
  checkTargets([n], { x, weight, targets });
  checkLossOptions(options);
  const {
    chunk = Math.max(FEWEST_ROWS, Math.floor(LOGITS / (weight.shape[0] as number))),
    ignore,
    smoothing,
  } = options;
  checkWhole('chunk', chunk, 1);

  const parts = Math.ceil(n / chunk);
  return x.runtime.scope(() => {
    const losses: Tensor<'f32'>[] = [];
    for (let part = 0; part < parts; part++) {
      const [first, past] = [part * chunk, Math.min((part + 1) * chunk, n)];
      // Of the first time only: when the backward pass computes again, it is over.
      let control: Control = controlOf(options, part, parts);
      const ofRows = (rows: Tensor, weight: Tensor, targets: Tensor) => {
        using logits = matmul(rows, weight, { transposeB: true, signal: control.signal });
        return lossesOf(logits, targets, { ignore, smoothing, first, ...control });
      };
      losses.push(recompute(ofRows, x.slice(0, first, past), weight, targets.slice(0, first, past)));
      control = {};
    }
    const whole = parts === 1 ? (losses[0] as Tensor<'f32'>) : concat(losses, 0);
    return options.reduction === 'none' ? whole : meanLoss(whole, targets, ignore, {});
  });
}
