import type { Tensor } from '../../tensor/tensor';

/** Normalises each row of x [r,c] to mean 0 and variance 1, then times gain [c] plus bias [c]; f32, contiguous. */
export interface LayerNormCall {
  readonly x: Tensor;
  readonly gain: Tensor;
  readonly bias: Tensor;
  readonly out: Tensor;
  readonly epsilon: number;
}
