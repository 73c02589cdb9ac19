import type { Tensor } from '../../tensor/tensor';

/** a [r,k] times b [k,c] of any strides, f32 -> out [r,c]. */
export interface MatmulCall {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly out: Tensor;
}
