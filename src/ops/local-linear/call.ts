import type { Tensor } from '../../tensor/tensor';

export const SOLVERS = ['cg', 'direct'] as const;
/** How the system of a row is solved: by conjugate gradients, or as a matrix of d x d numbers by its Cholesky factor. */
type LocalLinearSolver = (typeof SOLVERS)[number];

/**
 * How far below the tolerance the backward pass goes on if it can: gradients take what is left of the second systems times
 * solutions of the first, which may be large.
 */
export const SECOND_TOLERANCE = 0.1;

/** q [b,n,h,d], k [b,m,g,d], v [b,m,g,e] of any strides. */
export interface LocalLinearProblem {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly ridge: number;
  /** [b,n,h]: in place of `ridge`. */
  readonly ridgeRows?: Tensor | undefined;
  readonly causal: boolean;
  readonly scale: number;
  readonly solver: LocalLinearSolver;
  readonly tolerance: number;
  readonly maxIterations: number;
}

/** -> out [b,n,h,e]; lse, residual and iterations [b,n,h] and solution [b,n,h,d], f32. */
export interface LocalLinearCall extends LocalLinearProblem {
  readonly out: Tensor;
  readonly lse: Tensor;
  readonly solution: Tensor;
  readonly residual: Tensor;
  readonly iterations: Tensor;
}

/** What the forward pass returned and gradOut -> gradients, and the residual [b,n,h] of the second system of each row. */
export interface LocalLinearBackwardCall extends LocalLinearProblem {
  readonly stopGradRidge: boolean;
  readonly solution: Tensor;
  readonly gradOut: Tensor;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  readonly gradRidgeRows?: Tensor | undefined;
  readonly residual: Tensor;
}
