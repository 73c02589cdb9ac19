/** In float64. Targets outside the classes count as the nearest: the fault is told by the op. */

import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** What the loss of a row of logits [rows,classes] is: its target in [rows], i32. Targets that are `ignore` have none. */
export interface CrossEntropy {
  readonly logits: Tensor;
  readonly targets: Tensor;
  readonly classes: number;
  readonly ignore: number | undefined;
  readonly smoothing: number;
}

/** lse - (1 - smoothing) times the target's logit - smoothing times the mean logit -> out [rows]; lse [rows]. */
export interface CrossEntropyCall extends CrossEntropy {
  /** Which of the caller's rows is the first, for messages. */
  readonly first: number;
  readonly out: Tensor;
  readonly lse: Tensor;
}

/** From gradLosses [rows], those with respect to the losses, -> out [rows,classes]; f32, contiguous. */
export interface CrossEntropyGradientCall extends CrossEntropy {
  readonly lse: Tensor;
  readonly gradLosses: Tensor;
  readonly out: Tensor;
}

/** The mean of losses [rows] whose targets are not `ignore` -> out [], 0 if there are none; share [], 1 over their count. */
export interface MeanLossCall extends Pick<CrossEntropy, 'targets' | 'ignore'> {
  readonly losses: Tensor;
  readonly out: Tensor;
  readonly share: Tensor;
}

export function crossEntropy(call: CrossEntropyCall, { numbers, store }: Host): void {
  const { logits, classes, smoothing } = call;
  const values = numbers(logits);
  const targets = targetsOf(call, numbers(call.targets));
  const lse = new Float64Array(targets.length);
  const losses = new Float64Array(targets.length);
  targets.forEach((target, r) => {
    const row = values.subarray(r * classes, (r + 1) * classes);
    const largest = row.reduce((a, b) => Math.max(a, b));
    lse[r] = largest + Math.log(row.reduce((sum, x) => sum + Math.exp(x - largest), 0));
    if (target === undefined) return;
    const mean = smoothing > 0 ? smoothing * (row.reduce((a, b) => a + b) / classes) : 0;
    losses[r] = lse[r]! - (1 - smoothing) * row[target]! - mean;
  });
  store(call.lse, lse);
  store(call.out, losses);
}

export function crossEntropyGradient(call: CrossEntropyGradientCall, { numbers, store }: Host): void {
  const { classes, smoothing } = call;
  const [values, lse, grads] = [numbers(call.logits), numbers(call.lse), numbers(call.gradLosses)];
  targetsOf(call, numbers(call.targets)).forEach((target, r) => {
    for (let c = 0; c < classes; c++) {
      const at = r * classes + c;
      const wanted = smoothing / classes + (c === target ? 1 - smoothing : 0);
      values[at] = target === undefined ? 0 : (Math.exp(values[at]! - lse[r]!) - wanted) * grads[r]!;
    }
  });
  store(call.out, values);
}

export function meanLoss({ losses, targets, ignore, out, share }: MeanLossCall, { numbers, store }: Host): void {
  const values = numbers(losses);
  const kept = values.filter((_, r) => numbers(targets)[r] !== ignore);
  const part = kept.length > 0 ? 1 / kept.length : 0;
  store(share, Float64Array.of(part));
  store(out, Float64Array.of(kept.reduce((sum, loss) => sum + loss, 0) * part));
}

/** Undefined where ignored. */
function targetsOf({ classes, ignore }: CrossEntropy, targets: Float64Array): (number | undefined)[] {
  return Array.from(targets, (target) => (target === ignore ? undefined : Math.max(0, Math.min(classes - 1, target))));
}
