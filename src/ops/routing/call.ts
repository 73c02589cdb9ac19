import type { Tensor } from '../../tensor/tensor';

/**
 * The entry of bank [u] at the largest of each row of logits, the first of equal ones -> out [r]. Logits are the products of
 * rows of x [r,c], and of y [r,e] beside it if there is one, with the router [c + e,u]; f32, contiguous.
 */
export interface RouteCall {
  readonly x: Tensor;
  readonly y?: Tensor | undefined;
  readonly router: Tensor;
  readonly bank: Tensor;
  readonly out: Tensor;
}

/** Straight through: to the logits as if out was the bank's mean under their softmax, to the bank as it is. */
export interface RouteBackwardCall extends Omit<RouteCall, 'out'> {
  readonly gradOut: Tensor;
  readonly gradX: Tensor;
  readonly gradY?: Tensor | undefined;
  readonly gradRouter: Tensor;
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
