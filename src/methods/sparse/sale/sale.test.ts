import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../../test/backends';
import { expectClose, expectRefusal } from '../../../../test/expect';
import { scoped } from '../../../../test/scoped';
import { attention, contiguous, createKeyValueCache, createRuntime, type Runtime, type Tensor } from '../../../index';
import { hostTensor } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { sale } from '.';

type Numbers = ArrayLike<number>;

/** Tokens some of which stand out, away from 0, so that blocks differ. */
const random = (shape: readonly number[], seed: number) => {
  const size = shape.reduce((a, b) => a * b);
  return hostTensor(
    normal(size, seed).map((x, i) => (i % 89 < 3 ? 3 * x : x) + (i % 5 === 0 ? 0.7 : 0)),
    shape,
    'f32',
  );
};

interface Extents {
  readonly b?: number;
  readonly n: number;
  readonly h?: number;
  readonly g?: number;
  readonly d: number;
}

const hosts = ({ b = 1, n, h = 1, g = h, d }: Extents) => ({
  q: random([b, n, h, d], 1),
  k: random([b, n, g, d], 2),
  v: random([b, n, g, 3], 3),
});

const parse = (params: object) => sale.parse({ denseBelow: 0, ...params } as never);

async function run(runtime: Runtime, inputs: ReturnType<typeof hosts>, params: object) {
  const [q, k, v] = Object.values(inputs).map((host) => runtime.fromHost(host)) as [Tensor, Tensor, Tensor];
  const found = sale.forward({ q, k, v }, parse(params));
  return { out: await found.out.read(), lse: await found.lse.read(), kept: [...(await found.kept.read())] };
}

/** A threshold a little larger and a little smaller than another must choose the same, or a block is too near to tell. */
function agreement(inputs: ReturnType<typeof hosts>, params: { threshold: number }, kept: readonly number[]) {
  const by = (factor: number) =>
    sale.reference(inputs, parse({ ...params, threshold: factor * params.threshold })).kept!.data as Numbers;
  const [low, high] = [by(0.999), by(1.001)];
  kept.forEach((choice, at) => {
    if (low[at] === high[at]) expect(choice, `block ${at}`).toBe(low[at]);
  });
  return kept.every((_, at) => low[at] === high[at]);
}

describeOnBackends('SALE', (runtime) => {
  const cases = fc.record({
    extents: fc
      .record({
        b: fc.integer({ min: 1, max: 2 }),
        n: fc.integer({ min: 1, max: 90 }),
        g: fc.integer({ min: 1, max: 2 }),
        repeat: fc.integer({ min: 1, max: 2 }),
        d: fc.constantFrom(1, 3, 8, 13),
      })
      .map(({ repeat, ...extents }) => ({ ...extents, h: repeat * extents.g })),
    params: fc
      .record({
        threshold: fc.constantFrom(0.003, 0.02, 0.1),
        queryBlock: fc.constantFrom(1, 7, 16, 32),
        keyBlock: fc.constantFrom(1, 5, 8, 32),
        quantize: fc.constantFrom('thread', 'token', 'none'),
        local: fc.integer({ min: 1, max: 3 }),
        segment: fc.integer({ min: 1, max: 3 }),
      })
      .map(({ local, segment, ...rest }) => ({
        ...rest,
        local: local * rest.keyBlock,
        segment: segment * rest.keyBlock,
      })),
  });

  test('keeps the blocks of its definition and attends to them', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ extents, params }) => {
        await scoped(runtime(), async () => {
          const inputs = hosts(extents);
          const { out, lse, kept } = await run(runtime(), inputs, params);
          if (!agreement(inputs, params, kept)) return;
          const expected = sale.reference(inputs, parse(params));
          expectClose(out, expected.out!.data as Numbers, 1e-5);
          expectClose(lse, expected.lse!.data as Numbers, 1e-5);
        });
      }),
      randomCases(10),
    );
  });

  test("keeps them at the authors' sizes, some and not all, where means are large beside what is rounded too", async () => {
    await scoped(runtime(), async () => {
      const inputs = hosts({ n: 450, d: 40 });
      const far = {
        ...inputs,
        q: { ...inputs.q, data: Float32Array.from(inputs.q.data as Numbers, (x) => x / 4 + 2) },
      };
      for (const each of [inputs, far]) {
        const { kept } = await run(runtime(), each, { threshold: 0.02 });
        agreement(each, { threshold: 0.02 }, kept);
        const all = kept.reduce((sum, choice) => sum + choice, 0);
        const none = (await run(runtime(), each, { threshold: 1e9 })).kept.reduce((sum, choice) => sum + choice, 0);
        expect(all).toBeGreaterThan(none);
      }
    });
  });

  test('goes on in parts, rows by themselves, each with what it has; steps are exact', async () => {
    await scoped(runtime(), async () => {
      const inputs = hosts({ b: 2, n: 96, h: 2, g: 1, d: 8 });
      const { q, k, v } = Object.fromEntries(
        Object.entries(inputs).map(([name, host]) => [name, runtime().fromHost(host)]),
      ) as Record<'q' | 'k' | 'v', Tensor<'f32'>>;
      const params = parse({ threshold: 0.05, queryBlock: 16, keyBlock: 8, local: 8, segment: 8 });
      const continuation = sale.continuation(params);
      if (continuation.from !== 'keys') throw new Error('SALE goes on from keys');
      using cache = createKeyValueCache(runtime(), { layers: 1, rows: 2, heads: 1, d: 8, e: 3, capacity: 128 });
      const part = (x: Tensor, from: number, past: number) => contiguous(x.slice(1, from, past));
      const attend = async (from: number, past: number, counts: number[]) => {
        cache.append(0, part(k, from, past), part(v, from, past), { counts });
        return continuation.attend({ q: part(q, from, past) }, cache.layer(0), { counts }, undefined).read();
      };
      // A whole prompt is the forward pass; the second row is shorter.
      const first = await attend(0, 64, [64, 50]);
      for (const [row, n] of [64, 50].entries()) {
        const own = [q, k, v].map((x) => contiguous(x.slice(0, row, row + 1).slice(1, 0, n)));
        const whole = sale.forward({ q: own[0]!, k: own[1]!, v: own[2]! }, params);
        expectClose(first.slice(row * 64 * 6, row * 64 * 6 + n * 6), await whole.out.read(), 1e-5);
      }
      cache.truncate([64, 0]);
      cache.append(0, part(k, 0, 64), part(v, 0, 64), { counts: [0, 64] });
      const second = await attend(64, 90, [26, 26]);
      expect(second.every(Number.isFinite)).toBe(true);
      const step = await attend(90, 91, [1, 1]);
      const exact = attention(part(q, 90, 91), part(k, 0, 91), part(v, 0, 91), { causal: true });
      expectClose(step, await exact.out.read(), 1e-5);
    });
  });
});

describe('SALE', () => {
  const small = { queryBlock: 1, keyBlock: 1, local: 1, segment: 1 };
  const withRuntime = async <T>(work: (runtime: Runtime) => Promise<T>) => {
    using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
    return await work(runtime);
  };

  test('by hand: reserved scores 1 and 3, a candidate of 0.5 has 0.125 of them', async () => {
    // Smoothing moves all keys alike, so that shares stay.
    const column = (values: number[]) => hostTensor(values, [1, 3, 1, 1], 'f32');
    const inputs = { q: column([1, 1, 1]), k: column([0, Math.log(0.5), Math.log(3)]), v: column([1, 2, 3]) };
    const keptBy = (threshold: number) =>
      withRuntime(async (runtime) => {
        const { kept } = await run(runtime, inputs, { ...small, threshold, scale: 1 });
        return kept.slice(6);
      });
    expect(await keptBy(0.1)).toEqual([1, 1, 1]);
    expect(await keptBy(0.2)).toEqual([1, 0, 1]);
  });

  test('no threshold is dense, an infinite one reserved only; a larger one keeps a part; a constant on all keys changes nothing', async () => {
    await withRuntime(async (runtime) => {
      const inputs = hosts({ n: 400, h: 2, d: 16 });
      const dense = await run(runtime, inputs, { threshold: [0, 1e-6] });
      const blocks = (a: number, j: number) => j * 32 < Math.min(400, (a + 1) * 64);
      const expected = Array.from({ length: 2 * 7 * 13 }, (_, at) => Number(blocks(Math.floor(at / 13) % 7, at % 13)));
      expect(dense.kept).toEqual(expected);
      const exact = await run(runtime, inputs, { threshold: 0.01, denseBelow: 400 });
      expect([exact.kept, exact.out]).toEqual([dense.kept, dense.out]);
      const one = await run(runtime, inputs, { threshold: [0, 0.02] });
      expect(one.kept.slice(0, 91)).toEqual(expected.slice(0, 91));
      let before = expected;
      for (const threshold of [0.004, 0.02, 0.1, 1e30]) {
        const { kept, out } = await run(runtime, inputs, { threshold });
        expect(kept.every((choice, at) => choice <= before[at]!)).toBe(true);
        // The first four query blocks have nothing to choose.
        expect(kept.slice(0, 4 * 13)).toEqual(expected.slice(0, 4 * 13));
        expectClose(out.slice(0, 256 * 6), dense.out.slice(0, 256 * 6), 1e-6);
        if (threshold === 1e30) expect(kept.slice(4 * 13, 5 * 13)).toEqual([1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]);
        before = kept;
      }
      const moved = { ...inputs.k, data: Float32Array.from(inputs.k.data as Numbers, (x, i) => x + (i % 16) / 4) };
      const [same, other] = [
        await run(runtime, inputs, { threshold: 0.02 }),
        await run(runtime, { ...inputs, k: moved }, { threshold: 0.02 }),
      ];
      expect(other.kept).toEqual(same.kept);
      expectClose(other.out, same.out, 1e-4);
    });
  });

  test('refuses what does not fit by name', async () => {
    await withRuntime(async (runtime) => {
      const q = runtime.random([1, 8, 2, 4], { seed: 1 });
      const refuse = (params: object, message: string, k: Tensor = q) =>
        expectRefusal(runtime, () => sale.forward({ q, k, v: k }, parse(params)), message);
      await refuse({ threshold: [0.1] }, 'threshold must be a number, or one for each of 2 query heads, got 1');
      await refuse({ threshold: 0.1, local: 40 }, 'local must be a multiple of keyBlock, 32, got 40');
      await refuse({ threshold: 0.1, segment: 16 }, 'segment must be a multiple of keyBlock, 32, got 16');
      await refuse({ threshold: -1 }, 'threshold');
      await refuse({}, 'threshold');
      await refuse({ threshold: 0.1 }, 'must divide those of q', runtime.random([1, 8, 3, 4], { seed: 1 }));
    });
  });
});
