import type { Tensor } from '../../tensor/tensor';

/** Sums of the rows of values [n,c] with the same index of indices [n] (i32, checked by the caller) -> out [r,c]. */
export interface ScatterAddCall {
  readonly values: Tensor;
  readonly indices: Tensor;
  readonly out: Tensor;
}
