import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../../test/backends';
import { sequences } from '../../../../test/describe-method';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { scoped } from '../../../../test/scoped';
import {
  attention,
  concat,
  contiguous,
  createKeyValueCache,
  createRuntime,
  type Runtime,
  type Tensor,
} from '../../../index';
import { hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import type { Continuation } from '../../continuation';
import { deltallm } from '.';
import { HeldMemory } from './memory';

type Numbers = ArrayLike<number>;

const random = (shape: readonly number[], seed: number) => {
  const size = shape.reduce((a, b) => a * b);
  return hostTensor(normal(size, seed), shape, 'f32');
};

const hosts = ({ b = 1, n, h = 1, g = h, d, e = 3 }: Readonly<Record<string, number>>) => ({
  q: random([b, n!, h, d!], 1),
  k: random([b, n!, g, d!], 2),
  v: random([b, n!, g, e], 3),
});

async function run(runtime: Runtime, inputs: ReturnType<typeof hosts>, params: object) {
  const [q, k, v] = Object.values(inputs).map((host) => runtime.fromHost(host)) as [Tensor, Tensor, Tensor];
  const { out, sparsity } = deltallm.forward({ q, k, v }, deltallm.parse(params as never));
  return { out: await out.read(), sparsity: await sparsity.read() };
}

describeOnBackends('DeltaLLM', (runtime) => {
  const params = fc.record({
    threshold: fc.constantFrom(0, 0.3, 1, 100),
    windowShare: fc.constantFrom(0, 0.05, 0.3, 1),
    window: fc.constantFrom('block', 'sliding'),
    sink: fc.constantFrom(0, 2),
  });

  test('agrees with running sums of differences', async () => {
    await fc.assert(
      fc.asyncProperty(sequences, params, async (extents, params) => {
        await scoped(runtime(), async () => {
          const inputs = hosts(extents);
          const { out, sparsity } = await run(runtime(), inputs, params);
          const expected = deltallm.reference(inputs, deltallm.parse(params as never));
          expectClose(out, expected.out!.data as Numbers, 2e-5);
          expectClose(sparsity, expected.sparsity!.data as Numbers, 1e-6);
        });
      }),
      randomCases(15),
    );
  });

  test('goes on in parts, rows by themselves; a step is the last row of a prompt with a sliding window', async () => {
    await scoped(runtime(), async () => {
      const inputs = hosts({ b: 2, n: 40, h: 2, g: 1, d: 5 });
      const { q, k, v } = Object.fromEntries(
        Object.entries(inputs).map(([name, host]) => [name, runtime().fromHost(host)]),
      ) as Record<'q' | 'k' | 'v', Tensor<'f32'>>;
      using cache = createKeyValueCache(runtime(), { layers: 1, rows: 2, heads: 1, d: 5, e: 3, capacity: 64 });
      let memory = new HeldMemory();
      const part = (x: Tensor, from: number, past: number) => contiguous(x.slice(1, from, past));
      const attend = async (given: object, from: number, past: number, counts: number[]) => {
        const continuation = deltallm.continuation(deltallm.parse(given as never));
        if (continuation.from !== 'keys') throw new Error('DeltaLLM goes on from keys');
        cache.append(0, part(k, from, past), part(v, from, past), { counts });
        const inputs = { q: part(q, from, past) };
        return continuation.attend(inputs, cache.layer(0), { counts }, memory).read();
      };
      const whole = async (given: object, row: number, n: number) => {
        const own = [q, k, v].map((x) => contiguous(x.slice(0, row, row + 1).slice(1, 0, n)));
        const found = deltallm.forward({ q: own[0]!, k: own[1]!, v: own[2]! }, deltallm.parse(given as never));
        return found.out.read();
      };
      const first = await attend({ threshold: 0.8, windowShare: 0.2 }, 0, 30, [30, 20]);
      for (const [row, n] of [30, 20].entries())
        expectClose(
          first.slice(row * 180, row * 180 + 6 * n),
          await whole({ threshold: 0.8, windowShare: 0.2 }, row, n),
          1e-5,
        );
      expect([...first.slice(180 + 120)].every((x) => x === 0)).toBe(true);
      // The last 8 of 32 tokens are the query's own and 7 before it, a window of 7 / 32.
      cache.truncate([30, 0]);
      memory.truncate([30, 0]);
      cache.append(0, part(k, 0, 30), part(v, 0, 30), { counts: [0, 30] });
      const step = await attend({ threshold: 0.8, windowShare: 8 / 31, sink: 1 }, 30, 31, [1, 1]);
      const sliding = { threshold: 0.8, windowShare: 7 / 31, sink: 1, window: 'sliding' };
      const { bytes } = memory;
      expect(bytes).toBeGreaterThan(0);
      using turned = cache.fork([1, 0]);
      const own = [memory.fork([1, 0]), memory.join()];
      expect(own.map((each) => each.bytes)).toEqual([bytes, 0]);
      for (const each of own) {
        const given = deltallm.parse({ threshold: 0.8, windowShare: 8 / 31, sink: 1 });
        const continuation = deltallm.continuation(given) as Extract<Continuation, { from: 'keys' }>;
        const queries = concat(
          [q.slice(0, 1, 2), q.slice(0, 0, 1)].map((row) => row.slice(1, 30, 31)) as Tensor<'f32'>[],
          0,
        );
        const found = await continuation.attend({ q: queries }, turned.layer(0), { counts: [1, 1] }, each).read();
        expectClose(found, [...step.slice(6), ...step.slice(0, 6)], 1e-6);
        each.dispose();
      }
      // What is held follows from the keys, in a memory that has seen none of them too.
      memory.dispose();
      memory = new HeldMemory();
      cache.truncate(30);
      expectClose(await attend({ threshold: 0.8, windowShare: 8 / 31, sink: 1 }, 30, 31, [1, 1]), step, 1e-6);
      memory.dispose();
      for (const row of [0, 1])
        expectClose(step.slice(6 * row, 6 * row + 6), (await whole(sliding, row, 31)).slice(-6), 1e-5);
    });
  });
});

describe('DeltaLLM', () => {
  const withRuntime = async <T>(work: (runtime: Runtime) => Promise<T>) => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    return await work(runtime);
  };

  test('by hand: a key is held until it has moved by more than the threshold', async () => {
    await withRuntime(async (runtime) => {
      const column = (values: number[]) => hostTensor(values, [1, 5, 1, 1], 'f32');
      const inputs = { q: column([1, 1, 1, 1, 1]), k: column([1, 1.4, 1.6, 1.2, 3]), v: column([1, 2, 3, 4, 5]) };
      const { out, sparsity } = await run(runtime, inputs, { threshold: 0.5, windowShare: 0, scale: 1 });
      const weights = [1, 1, 1.6, 1.6, 3].map(Math.exp);
      const mean = weights.reduce((sum, w, j) => sum + w * (j + 1), 0) / weights.reduce((a, b) => a + b);
      expect(out[4]).toBeCloseTo(mean, 5);
      expect(sparsity[0]).toBeCloseTo(2 / 5, 6);
    });
  });

  test('exact without a threshold, with a window or a start of all; means of values where all keys are the first', async () => {
    await withRuntime(async (runtime) => {
      const inputs = hosts({ n: 33, h: 2, g: 1, d: 4 });
      const [q, k, v] = Object.values(inputs).map((host) => runtime.fromHost(host)) as [Tensor, Tensor, Tensor];
      const exact = await attention(q, k, v, { causal: true }).out.read();
      for (const params of [
        { threshold: 0 },
        { threshold: [5], windowShare: 1 },
        { threshold: 5, windowShare: 1, window: 'sliding' },
        { threshold: 5, windowShare: 0, sink: 33 },
      ])
        expectClose((await run(runtime, inputs, params)).out, exact, 1e-5);
      const { out, sparsity } = await run(runtime, inputs, { threshold: 1e9, windowShare: 0 });
      const values = inputs.v.data as Numbers;
      const means = Array.from({ length: 33 * 6 }, (_, at) => {
        const [i, c] = [Math.floor(at / 6), at % 3];
        return Array.from({ length: i + 1 }, (_, j) => values[3 * j + c]!).reduce((a, b) => a + b) / (i + 1);
      });
      expectClose(out, means, 1e-5);
      expect(sparsity[0]).toBeCloseTo(32 / 33, 6);
    });
  });

  test('refuses what does not fit by name', async () => {
    await withRuntime(async (runtime) => {
      const q = runtime.random([1, 8, 2, 4], { seed: 1 });
      const refuse = (params: object, message: string, k: Tensor = q) =>
        expectRefusal(runtime, () => deltallm.forward({ q, k, v: k }, deltallm.parse(params as never)), message);
      await refuse({ threshold: [0.1] }, 'threshold must be a number, or one for each of 2 key heads, got 1');
      await refuse({ threshold: 0.1, windowShare: 2 }, 'windowShare');
      await refuse({ threshold: -0.1 }, 'threshold');
      await refuse({}, 'threshold');
      await refuse({ threshold: 0.1 }, 'must divide those of q', runtime.random([1, 8, 3, 4], { seed: 1 }));
    });
  });
});
