import { FLOATS } from '../../runtime/cpu/params';
import type { Tensor } from '../../tensor/tensor';

export const DTYPES = [...FLOATS, 'i32', 'f64'] as const;
export type CopyDType = (typeof DTYPES)[number];

/**
 * The elements of x to out, of the same shape, as out's dtype has them: floats to nearest even, to integers towards zero and
 * within range, NaN as 0, i32 and f64 to 16 bits by way of f32. Both may be strided, but out not along its rows if it has another
 * dtype than x, and of 16 bits only as a part of a whole.
 */
export interface CopyCall {
  readonly x: Tensor;
  readonly out: Tensor;
  /** What out is a part of, contiguous, if the rest of it is to be `value`. */
  readonly within?: { readonly whole: Tensor; readonly value: number };
}
