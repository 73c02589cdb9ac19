import type { Tensor } from '../../tensor/tensor';

/** Attention within blocks of tokens with weights relu(scale q k); q [b,n,h,d], k [b,n,g,d], v [b,n,g,e], f32, contiguous. */
export interface ReluAttentionProblem {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly block: number;
  readonly causal: boolean;
  readonly scale: number;
}

/** -> out [b,n,h,e]. */
export interface ReluAttentionCall extends ReluAttentionProblem {
  readonly out: Tensor;
}

export interface ReluAttentionBackwardCall extends ReluAttentionProblem {
  readonly gradOut: Tensor;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
}
