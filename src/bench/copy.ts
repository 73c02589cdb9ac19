/** Copies and nothing else: the yardstick for operations that must at least read and write as many bytes. */
import { contiguous } from '../ops/copy';
import { tensorOperation } from './operation';

/** Reads and writes as many bytes as attention's inputs and result have: copies queries and keys. */
export const tokenCopy = tensorOperation({
  name: 'copy',
  bytes: ({ n, h, d }) => 4 * 4 * n * h * d,
  outputs: ({ n, h, d }) => ({ out: [2, n, h, d] }),
  operands(runtime, { problem: { n, h, d }, inputs: { q, k } }) {
    const tokens = new Float32Array(q.length + k.length);
    tokens.set(q);
    tokens.set(k, q.length);
    return { tokens: runtime.tensor(tokens, [2, n, h, d]) };
  },
  run: ({ tokens, out }) => contiguous(tokens, { out }),
});
