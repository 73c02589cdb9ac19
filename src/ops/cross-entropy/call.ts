import type { Tensor } from '../../tensor/tensor';

/** What the loss of a row of logits [rows,classes] is: its target in [rows], i32. Targets that are `ignore` have none. */
export interface CrossEntropy {
  readonly logits: Tensor;
  readonly targets: Tensor;
  readonly classes: number;
  readonly ignore: number | undefined;
  readonly smoothing: number;
}

/** lse - (1 - smoothing) times the target's logit - smoothing times the mean logit -> losses [rows]; lse [rows]. */
export interface CrossEntropyCall extends CrossEntropy {
  /** Which of the caller's rows is the first, for messages. */
  readonly first: number;
  readonly losses: Tensor;
  readonly lse: Tensor;
}

/** From gradLosses [rows], those with respect to the losses, to gradLogits; f32, contiguous. */
export interface CrossEntropyGradientCall extends CrossEntropy {
  readonly lse: Tensor;
  readonly gradLosses: Tensor;
  readonly gradLogits: Tensor;
}

/** The mean of losses [rows] whose targets are not `ignore` -> out [], 0 if there are none; share [], 1 over their count. */
export interface MeanLossCall extends Pick<CrossEntropy, 'targets' | 'ignore'> {
  readonly losses: Tensor;
  readonly out: Tensor;
  readonly share: Tensor;
}
