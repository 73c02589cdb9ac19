import { FLOATS } from '../../runtime/wasm/params';
import type { Tensor } from '../../tensor/tensor';

export const DTYPES = [...FLOATS, 'i32'] as const;
export type CopyDType = (typeof DTYPES)[number];

/**
 * The elements of x to out, as out's dtype has them: floats to nearest even, integers towards zero and within range, NaN
 * as 0, i32 to 16 bits by way of f32. Both may be strided, out of 16 bits or of another dtype than x not.
 */
export interface CopyCall {
  readonly x: Tensor;
  readonly out: Tensor;
  /** Where in out x begins on each axis, if that is larger; `value`, one of out's dtype, is around it. */
  readonly before?: readonly number[];
  readonly value?: number;
}
