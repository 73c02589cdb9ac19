import type { Tensor } from '../../tensor/tensor';

/** a [..., n, n] -> its factor out [..., n, n], status [..., n]; contiguous. */
export interface CholeskyCall {
  readonly a: Tensor;
  readonly out: Tensor;
  readonly status: Tensor;
}

/** A triangle a [..., n, n] and b [..., n, c] -> out [..., n, c], status [..., n]; contiguous. */
export interface TriangularCall {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly upper: boolean;
  readonly transpose: boolean;
  readonly unit: boolean;
  readonly out: Tensor;
  readonly status: Tensor;
}

/** A positive definite a [..., n, n] and b [..., n, c] -> out [..., n, c], the factor of a [..., n, n], status [..., n]. */
export interface CholeskySolveCall {
  readonly a: Tensor;
  readonly b: Tensor;
  /** How often the solution is corrected by its residual, which is summed in float64. */
  readonly refine: number;
  readonly out: Tensor;
  readonly factor: Tensor;
  readonly status: Tensor;
}

/** What a refined solution tells of itself: x [..., n, c] in f64, condition and error [...], f64, steps [...]. */
interface Refined {
  readonly x: Tensor;
  readonly condition: Tensor;
  readonly error: Tensor;
  readonly steps: Tensor;
}

/** A general or positive definite a [..., n, n] and b [..., n, c]. */
export interface RefinedSolveCall extends Refined {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly assume: string;
  readonly status: Tensor;
}

/** a [..., n, n], b [..., n, c] if there is one -> out [..., n, c], or the logarithm of |det a| and its sign [...]. */
export interface LuCall {
  readonly a: Tensor;
  readonly b?: Tensor;
  readonly out?: Tensor;
  readonly log?: Tensor;
  readonly sign?: Tensor;
  readonly status: Tensor;
}

/** a [..., m, n] -> q [..., m, k], r [..., k, n]. */
export interface QrCall {
  readonly a: Tensor;
  readonly q: Tensor;
  readonly r: Tensor;
}

/** a [..., n, n] -> values [..., n], vectors [..., n, n], status [..., n]. */
export interface EighCall {
  readonly a: Tensor;
  readonly values: Tensor;
  readonly vectors: Tensor;
  readonly status: Tensor;
}

/** a [..., m, n] -> u [..., m, k], s [..., k], v [..., n, k], status [...]. */
export interface SvdCall {
  readonly a: Tensor;
  readonly u: Tensor;
  readonly s: Tensor;
  readonly v: Tensor;
  readonly status: Tensor;
}
