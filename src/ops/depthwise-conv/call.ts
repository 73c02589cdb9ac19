import type { Tensor } from '../../tensor/tensor';

/** Each channel of pictures x [b,y,x,c] with its own kernel, of odd extents; zeros lie around the pictures; f32, contiguous. */
export interface DepthwiseConvCall {
  readonly x: Tensor;
  /** [ky,kx,c]. */
  readonly weight: Tensor;
  /** [c]. */
  readonly bias?: Tensor | undefined;
  /** In the shape of x. */
  readonly out: Tensor;
  readonly dilation: readonly [rows: number, columns: number];
  /** Whether the kernels are turned by half a circle. */
  readonly flipped: boolean;
}

/** The gradient with respect to the kernels -> out [ky,kx,c]. */
export interface DepthwiseConvWeightsCall extends Pick<DepthwiseConvCall, 'x' | 'out' | 'dilation'> {
  readonly gradOut: Tensor;
}
