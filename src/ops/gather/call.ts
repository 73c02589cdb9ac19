import type { Tensor } from '../../tensor/tensor';

/** Rows of table [t,c] picked by indices [r] (i32, checked by the kernel's caller) -> out [r,c]; f32, contiguous. */
export interface GatherCall {
  readonly table: Tensor;
  readonly indices: Tensor;
  readonly out: Tensor;
}
