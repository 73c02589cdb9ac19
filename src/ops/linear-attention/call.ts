import type { Tensor } from '../../tensor/tensor';

/** What linear attention carries from row to row, f32: the state [b,h,d,e] and, with a normaliser, the sum of keys [b,h,d]. */
interface LinearState {
  readonly state?: Tensor | undefined;
  /** Contiguous. */
  readonly keySum?: Tensor | undefined;
}

export interface LinearAttentionProblem {
  /** [b,n,h,d]; g divides h. */
  readonly q: Tensor;
  /** [b,m,g,d], of any strides as are q and v. */
  readonly k: Tensor;
  /** [b,m,g,e]. */
  readonly v: Tensor;
  /** Each query sees the keys up to its own, n = m; else all keys, and the decays are 1. */
  readonly causal: boolean;
  /** For each of the h heads, in (0, 1]. */
  readonly decay: readonly number[];
  readonly initial: LinearState;
}

/**
 * out_i = q_i S_i for S_i = decay S_(i-1) + k_i^T v_i from the initial state, or q_i S for S with all keys -> out
 * [b,n,h,e] and the last state. With `normaliser` out_i is divided by denominator_i = q_i (sum of the keys, decayed as
 * the state is) + epsilon, f32 [b,n,h], none of which may be 0 or NaN.
 */
export interface LinearAttentionCall extends LinearAttentionProblem {
  readonly out: Tensor;
  readonly final: LinearState;
  readonly normaliser?: { readonly epsilon: number; readonly denominator: Tensor } | undefined;
}

/** Gradients of a loss with respect to the inputs of a `LinearAttentionCall`, from those by its results. */
export interface LinearAttentionBackwardCall extends LinearAttentionProblem {
  /** What the call returned, where it had a normaliser. */
  readonly normalised?: { readonly epsilon: number; readonly out: Tensor; readonly denominator: Tensor } | undefined;
  /** [b,n,h,e] of any strides. */
  readonly gradOut: Tensor;
  /** By the last state. */
  readonly gradFinal: LinearState;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  readonly gradInitial: LinearState;
}

/** The causal call for n = 1. States are contiguous; `final` may lie where `initial` does. */
export interface LinearAttentionStepCall
  extends Pick<LinearAttentionProblem, 'q' | 'k' | 'v' | 'decay'>,
    Pick<LinearAttentionCall, 'out'> {
  readonly initial: LinearState & { readonly state: Tensor };
  readonly final: LinearState & { readonly state: Tensor };
  /** Present if the states have sums of keys; so are the denominators, f32 [b,1,h]. */
  readonly epsilon?: number | undefined;
  readonly denominator?: Tensor | undefined;
}
