/** A chain of small ops, and its arithmetic done by a single one. */
import { largestOf } from '../measure/gate';
import { add, multiply } from '../ops/elementwise';
import type { Runtime } from '../runtime/runtime';
import type { Tensor } from '../tensor/tensor';
import type { Operation } from './operation';
import type { Inputs } from './problem';

/** Ops of a chain. */
export const OPS = 400;

/** x becomes x b, then x + c, in turns, 400 ops in all: each awaited and its input freed, or all called before any is awaited. */
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
      return [{ known: [{ at: 0, numbers }], largest: largestOf(numbers), of: 'largest result' }];
    },
    async open(runtime, { problem: { d }, inputs }) {
      const { x, b, c } = tensorsOf(runtime, inputs, [1, d]);
      const places = [0, 1].map(() => runtime.tensor(new Float32Array(d).fill(Number.NaN), [1, d])) as [
        Tensor<'f32'>,
        Tensor<'f32'>,
      ];
      let last = places[1];
      const awaited = async () => {
        last.dispose();
        last = await multiply(x, b);
        for (let at = 1; at < OPS; at++) {
          using before = last;
          last = await (at % 2 === 0 ? multiply(before, b) : add(before, c));
        }
      };
      const queued = async () => {
        const calls: unknown[] = [];
        for (let at = 0, from = x; at < OPS; at++) {
          const out = places[at % 2] as Tensor<'f32'>;
          calls.push(at % 2 === 0 ? multiply(from, b, { out }) : add(from, c, { out }));
          from = out;
        }
        await Promise.all(calls);
      };
      return {
        call: isQueued ? queued : awaited,
        result: () => last.read() as Promise<Float32Array>,
        get tensors() {
          return [x, b, c, places[0], last];
        },
      };
    },
  };
}

/** One product of as many numbers as the chain has in all. */
export const chainArithmetic: Operation = {
  name: 'arithmetic of a chain',
  flops: ({ d }) => OPS * d,
  size: ({ d }) => OPS * d,
  bytes: ({ d }) => 4 * (2 * OPS + 1) * d,
  expected(_, inputs) {
    const { x, b } = termsOf(inputs);
    const numbers = Float64Array.from({ length: OPS * x.length }, (_, i) => x[i % x.length]! * b[i % x.length]!);
    return [{ known: [{ at: 0, numbers }], largest: largestOf(numbers), of: 'largest result' }];
  },
  async open(runtime, { problem: { d }, inputs }) {
    const { x, b } = termsOf(inputs);
    const rows = runtime.tensor(
      Float32Array.from({ length: OPS * d }, (_, i) => x[i % d]!),
      [OPS, d],
    );
    const factors = runtime.tensor(b, [d]);
    const out = runtime.tensor(new Float32Array(OPS * d).fill(Number.NaN), [OPS, d]);
    return {
      call: () => multiply(rows, factors, { out }),
      result: () => out.read() as Promise<Float32Array>,
      tensors: [rows, factors, out],
    };
  },
};

/** Factors below 1, so that the chain stays bounded. */
function termsOf({ q, k, v }: Inputs): Record<'x' | 'b' | 'c', Float32Array> {
  return { x: q, b: k.map((value) => 0.5 + 0.4 / (1 + Math.abs(value))), c: v };
}

function tensorsOf(runtime: Runtime, inputs: Inputs, shape: readonly number[]): Record<'x' | 'b' | 'c', Tensor<'f32'>> {
  const { x, b, c } = termsOf(inputs);
  return { x: runtime.tensor(x, shape), b: runtime.tensor(b, shape), c: runtime.tensor(c, shape) };
}
