import type { Elements } from '../../tensor/elements';
import type { Tensor } from '../../tensor/tensor';
import type { CommonAxis } from '../copy/axes';
import type { Elementwise } from '../map/function';

/** a [...,r,k] times b [...,k,c], f32, f16 or bf16 of any strides, plus bias [c] -> out [...,r,c] f32, each element as the epilogue has it. */
export interface MatmulCall {
  readonly a: Elements;
  readonly b: Elements;
  readonly bias?: Tensor | undefined;
  readonly epilogue?: Elementwise | undefined;
  readonly out: Tensor;
  /** The leading axes as a (`from`) and b (`to`) have them; strides are 0 where one matrix serves all. */
  readonly axes: readonly CommonAxis[];
}
