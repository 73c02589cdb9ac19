import { contiguous } from '../ops/copy';
import { max } from '../ops/reduce';
import type { Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

/**
 * For each row of x [..., tokens, heads, d] the largest number of all tokens of its head: `numbers` [rows, 1] has one for
 * each row, and so has the result. `shape` is that of x.
 */
export function largestOfHeads(numbers: Tensor, shape: Shape): Tensor<'f32'> {
  const [tokens, heads] = shape.slice(-3, -1) as [number, number];
  return numbers.runtime.scope(() => {
    const byToken = numbers.reshape([-1, tokens, heads]);
    const largest = max(byToken, { axes: [1], keepDims: true });
    return contiguous(largest.expand(byToken.shape)).reshape(numbers.shape) as Tensor<'f32'>;
  });
}
