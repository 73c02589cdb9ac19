import type { Tensor } from '../../tensor/tensor';

/**
 * Of each row of x [r,c] the places of the first k elements in order, and those elements, if wanted: equal ones by place,
 * NaN last either way. Contiguous; indices are i32.
 */
export interface TopKCall {
  readonly x: Tensor;
  readonly k: number;
  readonly descending: boolean;
  readonly indices: Tensor;
  readonly values?: Tensor;
}
