/** Tensors as backends and kernels see them. */
import type { Buffer } from '../runtime/memory';
import type { DType } from './dtype';
import type { Shape } from './shape';

/** Elements in a buffer; strides and offset count elements. Every tensor is one. */
export interface Elements {
  readonly storage: { readonly buffer: Buffer };
  readonly dtype: DType;
  readonly shape: Shape;
  readonly strides: readonly number[];
  readonly offset: number;
}
