import type { Tensor } from '../../tensor/tensor';

/** Rows of table [t,c] (floats) picked by indices [r] (i32) -> out [r,c], f32 or of the table's dtype; contiguous. */
export interface GatherCall {
  readonly table: Tensor;
  readonly indices: Tensor;
  readonly out: Tensor;
}
