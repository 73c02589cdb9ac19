import type { Tensor } from '../../tensor/tensor';

/**
 * x is [rows, runs, groups, columns], f32, contiguous. The elements of a group of a row, runs times columns of them, become
 * (x - mean) / (root + offset), zeros where that divides by 0, then times gain plus bias [groups, columns] where there are
 * such. The root is that of their mean square plus epsilon, after taking off the mean, which is 0 unless centred.
 */
export interface Norm {
  readonly x: Tensor;
  readonly gain?: Tensor | undefined;
  readonly rows: number;
  readonly runs: number;
  readonly groups: number;
  readonly columns: number;
  readonly centred: boolean;
  readonly epsilon: number;
  readonly offset: number;
  /** Rows of a part: of a task, and of those whose gradients of gains are summed. */
  readonly rowsOfPart: number;
}

export interface NormCall extends Norm {
  readonly bias?: Tensor | undefined;
  readonly out: Tensor;
}

/** The gradients from gradOut, that with respect to out: with respect to x, and sums over each part for gain and bias. */
export interface NormGradientCall extends Norm {
  readonly gradOut: Tensor;
  readonly gradX: Tensor;
  /** [parts, groups columns], if wanted. */
  readonly gains?: Tensor | undefined;
  readonly biases?: Tensor | undefined;
}
