import type { Tensor } from '../../tensor/tensor';

/** A softmax over some of the keys: out [..., e], f32, f16 or bf16, and lse [...], f32; both contiguous. */
export interface State {
  readonly out: Tensor;
  readonly lse: Tensor;
}

/** Parts of one shape, at least one, to the state over the keys of all of them, of their dtype. */
export interface MergeCall {
  readonly parts: readonly State[];
  readonly out: Tensor;
  readonly lse: Tensor;
}

/** The gradients with respect to each part, f32, from those with respect to what they were merged to, as far as there are. */
export interface MergeBackwardCall extends MergeCall {
  readonly gradOut: Tensor | undefined;
  readonly gradLse: Tensor | undefined;
  readonly gradients: readonly State[];
}
