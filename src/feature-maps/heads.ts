import type { Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

/**
 * For each row of x [..., tokens, heads, d] the largest number of all tokens of its head: `numbers` [rows, 1] has one for
 * each row, and so has the result. They are few beside x, so this is done on the host. `shape` is that of x.
 */
export async function largestOfHeads(numbers: Tensor, shape: Shape): Promise<Tensor<'f32'>> {
  const [tokens, heads] = shape.slice(-3, -1) as [number, number];
  const values = Float32Array.from(await numbers.read());
  const headOf = (row: number) => Math.floor(row / (tokens * heads)) * heads + (row % heads);
  const largest = new Float32Array(values.length / tokens).fill(Number.NEGATIVE_INFINITY);
  values.forEach((value, row) => {
    largest[headOf(row)] = Math.max(largest[headOf(row)] as number, value);
  });
  return numbers.runtime.tensor(
    values.map((_, row) => largest[headOf(row)] as number),
    [values.length, 1],
  );
}
