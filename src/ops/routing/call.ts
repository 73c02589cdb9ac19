import type { Tensor } from '../../tensor/tensor';

/** The entry of bank [u] at the largest of each row of logits [r,u], the first of equal ones -> out [r]; f32, contiguous. */
export interface RouteCall {
  readonly logits: Tensor;
  readonly bank: Tensor;
  readonly out: Tensor;
}

/** Straight through: by the logits as if out was the bank's mean under their softmax, by the bank as it is. */
export interface RouteBackwardCall extends Pick<RouteCall, 'logits' | 'bank'> {
  readonly gradOut: Tensor;
  readonly gradLogits: Tensor;
  readonly gradBank: Tensor;
}

/** Rows relu(x)^g of the length of relu(x), g = max(1, exponents [r]); x and out [r,c]; f32, contiguous. */
export interface FocusCall {
  readonly x: Tensor;
  readonly exponents: Tensor;
  readonly out: Tensor;
}

export interface FocusBackwardCall extends Pick<FocusCall, 'x' | 'exponents'> {
  readonly gradOut: Tensor;
  readonly gradX: Tensor;
  readonly gradExponents: Tensor;
}
