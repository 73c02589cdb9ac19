import type { Tensor } from '../../tensor/tensor';

/** The softmax of each row of x [r,c] -> out [r,c]; f32, contiguous. */
export interface SoftmaxCall {
  readonly x: Tensor;
  readonly out: Tensor;
}
