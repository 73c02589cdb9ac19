import type { Tensor } from '../../tensor/tensor';
import type { CommonAxis } from '../copy/axes';

/** a [...,r,k] times b [...,k,c], f32, f16 or bf16 of any strides, plus bias [c] -> out [...,r,c] f32. */
export interface MatmulCall {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly bias?: Tensor | undefined;
  readonly out: Tensor;
  /** The leading axes as a (`from`) and b (`to`) have them; strides are 0 where one matrix serves all. */
  readonly axes: readonly CommonAxis[];
}
