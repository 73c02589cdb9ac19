/** Attention over many short sequences, as a batch of them. */

import { documents } from '../masks/documents';
import { attention } from '../ops/attention';
import { expectedResult } from './expected';
import type { Operation } from './operation';
import { named } from './problem';

/** Exact attention over the tokens of a problem, cut into sequences of `length`, which must divide their number. */
export function shortSequences(length: number): Operation {
  return {
    name: `sequences of ${length}`,
    flops: ({ n, h, d }) => 4 * n * length * h * d,
    size: ({ n, h, d }) => n * h * d,
    bytes: ({ n, h, d }) => 4 * n * h * (4 * d + 1),
    // As one sequence, of whose tokens each sees those of its own.
    expected: ({ n, h, d }, inputs) => {
      const mask = named('sequences', documents(Int32Array.from({ length: n }, (_, i) => Math.floor(i / length))));
      return expectedResult({ n, h, d, mask }, inputs);
    },
    open(runtime, { problem: { n, h, d }, inputs }) {
      const batch = (numbers: Float32Array) => runtime.tensor(numbers, [n / length, length, h, d]);
      const [q, k, v] = [inputs.q, inputs.k, inputs.v].map(batch) as [Batch, Batch, Batch];
      const out = batch(new Float32Array(n * h * d).fill(Number.NaN));
      return {
        call: (control) => attention(q, k, v, { out, ...control }).lse.dispose(),
        result: () => out.read() as Promise<Float32Array>,
        tensors: [q, k, v, out],
      };
    },
  };
}

type Batch = Parameters<typeof attention>[0];
