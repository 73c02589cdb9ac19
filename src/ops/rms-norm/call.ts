import type { Tensor } from '../../tensor/tensor';

/**
 * Rows of x [r,c] over sqrt(mean of squares + epsilon) + offset, zeros where that is 0; with gradOut the gradient with
 * respect to x of
 * a loss whose gradient with respect to those is gradOut; f32, contiguous.
 */
export interface RmsNormCall {
  readonly x: Tensor;
  readonly gradOut?: Tensor | undefined;
  readonly out: Tensor;
  readonly epsilon: number;
  readonly offset: number;
}
