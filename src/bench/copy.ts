/** Copies and nothing else: what an operation is beside that must at least read and write as many bytes. */
import { largestOf } from '../measure/gate';
import { contiguous } from '../ops/copy';
import type { Operation } from './operation';
import type { Inputs } from './problem';

/** Reads and writes as many bytes as attention's inputs and result have: queries and keys go to a second place. */
export const tokenCopy: Operation = {
  name: 'copy',
  flops: () => 0,
  size: ({ n, h, d }) => 2 * n * h * d,
  bytes: ({ n, h, d }) => 4 * 4 * n * h * d,
  expected: (_, inputs) => {
    const numbers = Float64Array.from(tokensOf(inputs));
    return [{ known: [{ at: 0, numbers }], largest: largestOf(numbers), of: 'largest |number|' }];
  },
  open(runtime, { problem: { n, h, d }, inputs }) {
    const shape = [2, n, h, d];
    const from = runtime.tensor(tokensOf(inputs), shape);
    const to = runtime.empty(shape);
    return {
      call: () => void contiguous(from, { out: to }),
      result: () => to.read() as Promise<Float32Array>,
      tensors: [from, to],
    };
  },
};

function tokensOf({ q, k }: Inputs): Float32Array {
  const tokens = new Float32Array(q.length + k.length);
  tokens.set(q);
  tokens.set(k, q.length);
  return tokens;
}
