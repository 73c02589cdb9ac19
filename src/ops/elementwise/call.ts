import type { Tensor } from '../../tensor/tensor';

export const UNARY = [
  'relu',
  'tanh',
  'exp',
  'sigmoid',
  'silu',
  'elu',
  'eluPlusOne',
  'step',
  'sin',
  'cos',
  'power',
  'gelu',
  'reciprocal',
  'rsqrt',
] as const;
export type Unary = (typeof UNARY)[number];

/** out = f(x), elementwise; f32, contiguous. */
export interface UnaryCall {
  readonly operation: Unary;
  /** Of `power`, an integer from 1 to 64; else 1. */
  readonly exponent: number;
  readonly x: Tensor;
  readonly out: Tensor;
}

/** out = gradOut f'(x), elementwise; f32, contiguous. */
export interface UnaryBackwardCall extends UnaryCall {
  readonly gradOut: Tensor;
}

export const BINARY = ['add', 'subtract', 'multiply'] as const;
export type Binary = (typeof BINARY)[number];

/**
 * out = f(a, b), elementwise; each element of b serves `stretch` elements of a in a row, and b repeats until a ends; f32,
 * contiguous.
 */
export interface BinaryCall {
  readonly operation: Binary;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly stretch: number;
  readonly out: Tensor;
}
