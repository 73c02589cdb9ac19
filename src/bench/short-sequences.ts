/** Attention over many short sequences, as a batch of them. */
import { documents } from '../masks/documents';
import { attention } from '../ops/attention';
import { expectedResult } from './expected';
import { tensorOperation } from './operation';
import { named, type Operation } from './problem';

/** Exact attention over the tokens of a problem, cut into sequences of `length`, which must divide their number. */
export function shortSequences(length: number): Operation {
  return tensorOperation({
    name: `sequences of ${length}`,
    flops: ({ n, h, d }) => 4 * n * length * h * d,
    bytes: ({ n, h, d }) => 4 * n * h * (4 * d + 1),
    // As one sequence, each token of which sees those of its own.
    expected({ n, h, d }, inputs) {
      const mask = named('sequences', documents(Int32Array.from({ length: n }, (_, i) => Math.floor(i / length))));
      return expectedResult({ n, h, d, mask }, inputs);
    },
    outputs: ({ n, h, d }) => ({ out: [n / length, length, h, d] }),
    operands(runtime, { problem: { n, h, d }, inputs }) {
      const batch = (numbers: Float32Array) => runtime.tensor(numbers, [n / length, length, h, d]);
      return { q: batch(inputs.q), k: batch(inputs.k), v: batch(inputs.v) };
    },
    run: ({ q, k, v, out }, control) => attention(q, k, v, { out, ...control }).lse.dispose(),
  });
}
