import type { Tensor } from '../../tensor/tensor';

/** The elements of x to out, of the same shape and dtype (f32, f16, bf16 or i32); both may be strided, out of halves not. */
export interface CopyCall {
  readonly x: Tensor;
  readonly out: Tensor;
}
