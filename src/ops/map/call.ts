import type { Elements } from '../../tensor/elements';
import type { Tensor } from '../../tensor/tensor';
import type { Compiled, ElementwiseFunction } from './function';

/** What the function is applied to: inputs of one shape, which is that of the results; f32, f16, bf16 or i32. */
export interface Item {
  readonly inputs: readonly Elements[];
  /** Contiguous; one may be an input itself. */
  readonly outs: readonly Tensor[];
}

/** out0, out1, ... = f(x0, x1, ...; c0, c1, ...; t0, t1, ...) for every element of every item. */
export interface MapCall {
  readonly function: ElementwiseFunction;
  readonly compiled: Compiled;
  readonly numbers: readonly number[];
  /** What the function looks up elements of by index; contiguous, f32 or i32. */
  readonly tensors: readonly Tensor[];
  readonly items: readonly Item[];
}
