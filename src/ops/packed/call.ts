import type { Tensor } from '../../tensor/tensor';
import type { Elementwise } from '../map/function';
import type { PackedWeight } from './weight';

interface Product {
  readonly weight: PackedWeight;
  readonly columns: number;
  /** [columns], of the dtype of x. */
  readonly bias: Tensor | undefined;
  /** [..., columns] f32, contiguous. */
  readonly out: Tensor<'f32'>;
}

/** x [rows, depth], floats, contiguous, times each weight [columns, depth] or, across, [depth, columns]. */
export interface ProductsCall {
  readonly x: Tensor;
  readonly rows: number;
  readonly depth: number;
  /** Whether x is rounded to 8 bits in blocks. */
  readonly isRounded: boolean;
  readonly isAcross: boolean;
  readonly products: readonly Product[];
  readonly epilogue: Elementwise | undefined;
}

/** Rows of a table by indices [...] i32 -> [..., width] f32. */
export interface PickCall {
  readonly table: PackedWeight;
  readonly indices: Tensor;
  readonly out: Tensor<'f32'>;
}
