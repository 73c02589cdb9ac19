import type { Tensor } from '../../tensor/tensor';

export const ROWWISE = ['softmax', 'sum', 'max'] as const;
export type Rowwise = (typeof ROWWISE)[number];

/** Each row of x [r,c] to its softmax, out [r,c], or to one number, out [r]; f32, contiguous. */
export interface RowwiseCall {
  readonly operation: Rowwise;
  readonly x: Tensor;
  readonly out: Tensor;
}
