import { contiguous } from '../ops/copy';
import { maxRows } from '../ops/rows';
import type { Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

/**
 * For each row of x [..., tokens, heads, d] the largest number of all tokens of its head: `numbers` [rows, 1] has one for
 * each row, and so has the result. `shape` is that of x.
 */
export function largestOfHeads(numbers: Tensor, shape: Shape): Tensor<'f32'> {
  const [tokens, heads] = shape.slice(-3, -1) as [number, number];
  return numbers.runtime.scope(() => {
    const byHead = contiguous(numbers.reshape([-1, tokens, heads]).permute([0, 2, 1]));
    const largest = maxRows(byHead).expand(byHead.shape);
    return contiguous(largest.permute([0, 2, 1])).reshape(numbers.shape) as Tensor<'f32'>;
  });
}
