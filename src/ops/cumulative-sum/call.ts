import type { Tensor } from '../../tensor/tensor';

/** Sums of each row of x [r,c] from its first element, or its last if reversed, up to each -> out [r,c]; f32, contiguous. */
export interface CumulativeSumCall {
  readonly x: Tensor;
  readonly out: Tensor;
  readonly reverse: boolean;
}
