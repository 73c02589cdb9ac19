/** A chain of small ops, and a single op that does the same arithmetic. */
import { add, multiply } from '../ops/map';
import { matmul } from '../ops/matmul';
import type { Runtime } from '../runtime/runtime';
import { pullback } from '../tape';
import type { Tensor } from '../tensor/tensor';
import { known } from './expected';
import { tensorOperation, unwritten } from './operation';
import type { Inputs, Operation, Task } from './problem';

/** Ops of a chain. */
export const OPS = 400;

/** x becomes x b, then x + c, and so on, 400 ops in all, each input freed once it is used; alone, or queued behind a long op. */
export function chain(isQueued: boolean): Operation {
  return {
    name: isQueued ? 'chain, queued' : 'chain',
    flops: ({ d }) => OPS * d,
    size: ({ d }) => d,
    bytes: ({ d }) => 4 * 4 * d,
    expected(_, inputs) {
      const { x, b, c } = termsOf(inputs);
      let numbers = Float64Array.from(x);
      for (let at = 0; at < OPS; at += 2) numbers = numbers.map((value, i) => value * b[i]! + c[i]!);
      return [known(numbers, 'largest result')];
    },
    open(runtime, task) {
      const { x, b, c } = tensorsOf(runtime, task);
      const long = isQueued ? longOp(runtime) : undefined;
      let last: Tensor = unwritten(runtime, x.shape);
      return {
        call() {
          long?.call();
          last.dispose();
          last = multiply(x, b);
          for (let at = 1; at < OPS; at++) {
            using before = last;
            last = at % 2 === 0 ? multiply(before, b) : add(before, c);
          }
        },
        result: () => last.read() as Promise<Float32Array>,
        get tensors() {
          return [x, b, c, last, ...(long ? [long] : [])];
        },
      };
    },
  };
}

/** Gradients of the sum of the chain's result with respect to x: by the tape, or by calling the same ops by hand. */
export function chainGradients(isTaped: boolean): Operation {
  return {
    name: isTaped ? 'gradients of a chain, by the tape' : 'gradients of a chain, by hand',
    flops: ({ d }) => 1.5 * OPS * d,
    size: ({ d }) => d,
    bytes: ({ d }) => 4 * 4 * d,
    expected: (_, inputs) => [
      known(
        Float64Array.from(termsOf(inputs).b, (value) => value ** (OPS / 2)),
        'largest gradient',
      ),
    ],
    open(runtime, task) {
      const { x, b, c } = tensorsOf(runtime, task);
      const ones = runtime.tensor(new Float32Array(x.size).fill(1), x.shape);
      let gradient: Tensor = unwritten(runtime, x.shape);
      const forward = (start: Tensor) => {
        let last = start;
        for (let at = 0; at < OPS; at++) {
          const before = last;
          last = at % 2 === 0 ? multiply(before, b) : add(before, c);
          if (at > 0) before.dispose();
        }
        return last;
      };
      return {
        call() {
          gradient.dispose();
          if (isTaped) {
            const { results, pull } = pullback(forward, x);
            results.dispose();
            gradient = pull(ones);
            return;
          }
          forward(x).dispose();
          gradient = multiply(ones, b);
          for (let at = 2; at < OPS; at += 2) {
            using before = gradient;
            gradient = multiply(before, b);
          }
        },
        result: () => gradient.read() as Promise<Float32Array>,
        get tensors() {
          return [x, b, c, ones, gradient];
        },
      };
    },
  };
}

/** One product of as many numbers as the whole chain computes; alone, or queued behind the same long op. */
export function chainArithmetic(isQueued: boolean): Operation {
  const rowsOf = (x: Float32Array) => Float32Array.from({ length: OPS * x.length }, (_, i) => x[i % x.length]!);
  return tensorOperation({
    name: isQueued ? 'arithmetic of a chain, queued' : 'arithmetic of a chain',
    flops: ({ d }) => OPS * d,
    bytes: ({ d }) => 4 * (2 * OPS + 1) * d,
    expected(_, inputs) {
      const { x, b } = termsOf(inputs);
      return [
        known(
          Float64Array.from(rowsOf(x), (value, i) => value * b[i % b.length]!),
          'largest result',
        ),
      ];
    },
    outputs: ({ d }) => ({ out: [OPS, d] }),
    operands(runtime, { problem: { d }, inputs }) {
      const { x, b } = termsOf(inputs);
      const long = isQueued ? longOp(runtime) : undefined;
      return { rows: runtime.tensor(rowsOf(x), [OPS, d]), factors: runtime.tensor(b, [d]), long };
    },
    run({ rows, factors, long, out }) {
      long?.call();
      multiply(rows, factors, { out });
    },
  });
}

/** So long that workers compute it while later calls wait. */
function longOp(runtime: Runtime): { call(): void; dispose(): void } {
  const a = runtime.random([768, 768], { seed: 1 });
  const out = runtime.empty([768, 768]);
  const dispose = () => {
    a.dispose();
    out.dispose();
  };
  return { call: () => void matmul(a, a, { out }), dispose };
}

/** Factors slightly below 1, so that the chain stays bounded and its gradient is a normal number. */
function termsOf({ q, k, v }: Inputs): Record<'x' | 'b' | 'c', Float32Array> {
  return { x: q, b: k.map((value) => 0.9 + 0.1 / (1 + Math.abs(value))), c: v };
}

function tensorsOf(runtime: Runtime, { problem: { d }, inputs }: Task): Record<'x' | 'b' | 'c', Tensor<'f32'>> {
  const { x, b, c } = termsOf(inputs);
  const row = (numbers: Float32Array) => runtime.tensor(numbers, [1, d]);
  return { x: row(x), b: row(b), c: row(c) };
}
