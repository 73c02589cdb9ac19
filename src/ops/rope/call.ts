import type { Tensor } from '../../tensor/tensor';
import type { Rotation } from './rotation';

/**
 * Pairs of elements of each head of x [b,n,h,d] or [n,h,d], any strides, turned by their angles at the position of their
 * row, or back, and scaled -> out, contiguous, of the same dtype; in place where out is x.
 */
export interface RopeCall {
  readonly x: Tensor;
  readonly out: Tensor;
  /** [n] or [b,n], i32, contiguous; without them rows are at offset, offset + 1, ... */
  readonly positions: Tensor | undefined;
  readonly offset: number;
  readonly rotation: Rotation;
  readonly isInverse: boolean;
}
