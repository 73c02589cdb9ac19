/** Ops on pictures beside PyTorch's, whose results and gradients `fixtures/make-vision.py` stored. */
import { expect } from 'vitest';
import { pullback, type Runtime, type Tensor } from '../src/index';
import { sizeOf } from '../src/tensor/shape';
import { expectClose } from './expect';
import stored from './fixtures/vision.json' with { type: 'json' };
import { scoped } from './scoped';

interface Case {
  readonly op: string;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly options: object;
  readonly shape: readonly number[];
  readonly out: readonly number[];
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

type Inputs = Readonly<Record<string, Tensor | undefined>>;

/** Each stored case of these ops, which take channels first. */
export async function expectAsInPyTorch(
  runtime: Runtime,
  // biome-ignore lint/suspicious/noExplicitAny: the options of every op.
  ops: Readonly<Record<string, (inputs: Inputs, options: any) => Tensor>>,
): Promise<void> {
  const cases = (stored as unknown as readonly Case[]).filter(({ op }) => Object.hasOwn(ops, op));
  expect(cases.length).toBeGreaterThan(0);
  for (const { op, shapes, options, shape, out, gradients } of cases)
    await scoped(runtime, async () => {
      const inputs = Object.fromEntries(
        Object.entries(shapes).map(([name, each], at) => [name, runtime.tensor(wave(each, at + 1), each)]),
      );
      const { results, pull } = pullback((given: Inputs) => ops[op]!(given, options), inputs);
      expect([op, options, results.shape]).toEqual([op, options, shape]);
      expectClose(await results.read(), out, 1e-5);
      const found = pull(runtime.tensor(wave(shape, 9), shape));
      for (const [name, expected] of Object.entries(gradients))
        expectClose(await (found[name] as Tensor).read(), expected, 3e-5);
    });
}

const wave = (shape: readonly number[], seed: number) =>
  Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(1.7 * i + 0.9 * seed) + 0.1 * Math.cos(i * i));
