import type { Tensor } from '../../tensor/tensor';
import type { REDUCTIONS } from './params';

export type Reduction = (typeof REDUCTIONS)[number];

/** x [outer,n,inner] f32, contiguous, over n -> out [outer,inner], f32, of argmax i32; no extent is 0. */
export interface ReduceCall {
  readonly operation: Reduction;
  readonly x: Tensor;
  readonly out: Tensor;
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}
