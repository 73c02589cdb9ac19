import type { Tensor } from '../../tensor/tensor';

/** The softmax over n of x [outer,n,inner] -> out; f32, contiguous. */
export interface SoftmaxCall {
  readonly x: Tensor;
  readonly out: Tensor;
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

/** The gradient with respect to x from gradOut, that with respect to out, the result. */
export interface SoftmaxGradientCall extends Omit<SoftmaxCall, 'x'> {
  readonly gradOut: Tensor;
  readonly gradX: Tensor;
}
