import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu, randomCases } from '../../../test/backends';
import { relativeError, smallGradient } from '../../../test/describe-method';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { expectGradients } from '../../../test/tape-gradients';
import {
  attention,
  cast,
  createKeyValueCache,
  createRuntime,
  type ParallaxOptions,
  parallax,
  pullback,
  type Runtime,
  type Tensor,
} from '../../index';
import { type HostTensor, hostTensor } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { sizeOf } from '../../tensor/shape';
import { bandOf } from '../attention';
import { parallaxAttention, parallaxAttentionBackward } from './softmax';

type Shapes = Readonly<Record<'b' | 'n' | 'm' | 'h' | 'g' | 'd' | 'e', number>>;
type Host = Readonly<Record<'q' | 'r' | 'k' | 'v', HostTensor<'f32'>>>;
type Inputs = Readonly<Record<keyof Host, Tensor>>;

const random = (shape: readonly number[], seed: number) => hostTensor(normal(sizeOf(shape), seed), shape, 'f32');

const randomInputs = ({ b, n, m, h, g, d, e }: Shapes): Host => ({
  q: random([b, n, h, d], 1),
  r: random([b, n, h, d], 2),
  k: random([b, m, g, d], 3),
  v: random([b, m, g, e], 4),
});

const onDevice = (runtime: Runtime, host: Host): Inputs =>
  Object.fromEntries(Object.entries(host).map(([name, tensor]) => [name, runtime.fromHost(tensor)])) as Inputs;

function seesOf({ k, q }: Host, options: ParallaxOptions) {
  const mask = bandOf(options);
  const [b, n, h] = q.shape as [number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  return (i: number, j: number, head: number, batch: number) => mask.sees(i, j, { b, n, m, h, g, head, batch });
}

const expectedOf = (host: Host, options: ParallaxOptions = {}) =>
  parallaxAttention(host, options.scale ?? (host.q.shape[3] as number) ** -0.5, seesOf(host, options));

async function expectExact(runtime: Runtime, host: Host, options: ParallaxOptions = {}, tolerance = 1e-5) {
  const expected = expectedOf(host, options);
  const [out, lse] = [guarded(runtime, expected.out.shape), guarded(runtime, expected.lse.shape)];
  const { q, r, k, v } = onDevice(runtime, host);
  parallax(q, r, k, v, { ...options, out: out.out, lse: lse.out });
  const largest = expected.out.data.reduce((a, x) => (Number.isFinite(x) ? Math.max(a, Math.abs(x)) : a), 1);
  expectClose(await out.out.read(), Float32Array.from(expected.out.data), tolerance * largest);
  const sums = Float32Array.from(expected.lse.data);
  expectClose(
    await lse.out.read(),
    sums,
    sums.map((x) => 1e-5 + 1e-6 * Math.abs(x)),
  );
  for (const tensor of [q, r, k, v, out.out, lse.out]) tensor.dispose();
  await out.check();
  await lse.check();
}

const reach = fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 40 }));
const options = fc.record(
  { causal: fc.boolean(), window: fc.tuple(reach, reach), scale: fc.double({ min: -1, max: 1, noNaN: true }) },
  { requiredKeys: [] },
);
const extent = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 21, max: 80 }));
const shapes = fc
  .record({
    b: fc.integer({ min: 1, max: 2 }),
    n: extent,
    m: extent,
    g: fc.integer({ min: 1, max: 2 }),
    repeat: fc.integer({ min: 1, max: 3 }),
    d: fc.integer({ min: 1, max: 40 }),
    e: fc.integer({ min: 1, max: 40 }),
  })
  .map(({ repeat, ...s }) => ({ ...s, h: s.g * repeat }));

describeOnBackends('parallax', (runtime) => {
  test('agrees with the definition on odd shapes, grouped heads and every mask', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, options, async (s, given) => {
        const before = runtime().memory().live;
        await expectExact(runtime(), randomInputs(s), given);
        expect(runtime().memory().live).toBe(before);
      }),
      randomCases(25),
    );
  });

  test('keys beyond a block, several tiles that go together, wide heads', async () => {
    await expectExact(runtime(), randomInputs({ b: 1, n: 130, m: 790, h: 2, g: 1, d: 8, e: 8 }));
    await expectExact(runtime(), randomInputs({ b: 1, n: 3, m: 900, h: 3, g: 1, d: 12, e: 20 }), { causal: true });
    await expectExact(runtime(), randomInputs({ b: 1, n: 30, m: 40, h: 1, g: 1, d: 250, e: 256 }), { causal: true });
  });

  test('16-bit storage', async () => {
    const host = randomInputs({ b: 1, n: 40, m: 40, h: 2, g: 1, d: 16, e: 8 });
    const expected = expectedOf(host, { causal: true });
    await scoped(runtime(), async () => {
      const { q, r, k, v } = onDevice(runtime(), host);
      const dtypes = [
        ['f16', 4e-3],
        ['bf16', 3e-2],
      ] as const;
      for (const [dtype, tolerance] of fewOnGpu(dtypes, 1)) {
        const inputs = [q, r, k, v].map((x) => cast(x, dtype)) as [Tensor, Tensor, Tensor, Tensor];
        const { out } = parallax(...inputs, { causal: true });
        expect(out.dtype).toBe(dtype);
        expect(relativeError(await cast(out, 'f32').toHost(), expected.out)).toBeLessThan(tolerance);
      }
    });
  });

  test('the example of the page: p = 1/2 each, weights 0 and 1', async () => {
    await scoped(runtime(), async () => {
      const of = (shape: number[], ...values: number[]) => runtime().tensor(Float32Array.from(values), shape);
      const [q, r] = [of([1, 1, 1, 1], 0), of([1, 1, 1, 1], -1)];
      const [k, v] = [of([1, 2, 1, 1], 0, 2), of([1, 2, 1, 1], 0, 4)];
      expectClose(await parallax(q, r, k, v).out.read(), [4], 1e-6);
      expectClose(await parallax(q, of([1, 1, 1, 1], 0), k, v).out.read(), [2], 1e-6);
    });
  });

  test('r = 0 is attention; values that are all equal stay; keys that are all moved change nothing', async () => {
    const host = randomInputs({ b: 1, n: 33, m: 50, h: 2, g: 1, d: 6, e: 5 });
    await scoped(runtime(), async () => {
      const { q, r, k, v } = onDevice(runtime(), host);
      const given = { causal: true };
      const zero = runtime().fromHost(hostTensor(new Float32Array(r.size), r.shape, 'f32'));
      const plain = await attention(q, k, v, given).out.read();
      expectClose(await parallax(q, zero, k, v, given).out.read(), plain, 1e-5);
      const ones = runtime().fromHost(hostTensor(new Float32Array(v.size).fill(1), v.shape, 'f32'));
      const { out } = parallax(q, r, k, ones, given);
      expectClose(await out.read(), new Float32Array(out.size).fill(1), 2e-5);
      const moved = hostTensor(host.k.data.map((x, at) => x + (at % 6) - 2) as Float32Array, host.k.shape, 'f32');
      const left = await parallax(q, r, runtime().fromHost(moved), v, given).out.read();
      expectClose(left, await parallax(q, r, k, v, given).out.read(), 2e-4);
    });
  });

  test('large scores and products, denormals, infinities and NaN: what the definition says, and other rows as ever', async () => {
    const s = { b: 1, n: 40, m: 60, h: 2, g: 1, d: 6, e: 5 };
    const with_ = (name: keyof Host, change: (x: number, at: number) => number) => {
      const host = randomInputs(s);
      return { ...host, [name]: hostTensor(host[name].data.map(change) as Float32Array, host[name].shape, 'f32') };
    };
    const given = { causal: true };
    await expectExact(
      runtime(),
      with_('q', (x) => 100 * x),
      given,
      1e-4,
    );
    await expectExact(
      runtime(),
      with_('r', (x) => 1e4 * x),
      given,
    );
    await expectExact(
      runtime(),
      with_('r', (x) => 1e-40 * x),
      given,
    );
    for (const [name, at] of [
      ['r', 30],
      ['q', 30],
      ['k', 330],
      ['v', 270],
    ] as const)
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
        await expectExact(
          runtime(),
          with_(name, (x, index) => (index === at ? value : x)),
          given,
        );
    // The products overflow float32, their differences do not matter where one key is seen.
    const { out } = expectedOf(
      with_('r', (x, at) => (at === 3 ? 3e38 : x)),
      given,
    );
    expect(out.data.every(Number.isFinite)).toBe(true);
  });

  test('few queries: the same, with the same special values', async () => {
    for (const [name, at, value] of [
      ['r', 7, Number.POSITIVE_INFINITY],
      ['k', 100, Number.NEGATIVE_INFINITY],
      ['v', 100, Number.NaN],
      ['r', 0, 1e30],
    ] as const) {
      const host = randomInputs({ b: 1, n: 2, m: 60, h: 2, g: 1, d: 6, e: 5 });
      const data = host[name].data.slice() as Float32Array;
      data[at] = value;
      await expectExact(runtime(), { ...host, [name]: hostTensor(data, host[name].shape, 'f32') }, { causal: true });
    }
  });

  test('gradients are those of differences', async () => {
    const inputs = { q: [1, 7, 2, 3], r: [1, 7, 2, 3], k: [1, 9, 1, 3], v: [1, 9, 1, 4] };
    const fn = ({ q, r, k, v }: Record<string, Tensor>) => ({
      ...parallax(q as Tensor, r as Tensor, k as Tensor, v as Tensor, { causal: true, scale: 0.7 }),
    });
    await expectGradients(runtime(), { fn, inputs });
  });

  test('gradients agree with the definition on odd shapes, grouped heads and every mask', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, options, fc.boolean(), async (s, given, withLse) => {
        const host = randomInputs(s);
        const [gradOut, gradLse] = [random([s.b, s.n, s.h, s.e], 5), random([s.b, s.n, s.h], 6)];
        const scale = given.scale ?? s.d ** -0.5;
        const expected = parallaxAttentionBackward(
          { ...host, gradOut, ...(withLse && { gradLse }) },
          scale,
          seesOf(host, given),
        );
        const smallest = smallGradient(Object.values(expected));
        await scoped(runtime(), async () => {
          const { pull } = pullback(
            ({ q, r, k, v }) => parallax(q, r, k, v, given),
            onDevice(runtime(), host) as Record<keyof Host, Tensor>,
          );
          const byLse = withLse ? { lse: runtime().fromHost(gradLse) } : {};
          const found = pull({ out: runtime().fromHost(gradOut), ...byLse } as never) as Inputs;
          for (const name of ['q', 'r', 'k', 'v'] as const) {
            const wanted = expected[`grad${name.toUpperCase()}` as keyof typeof expected];
            expect(relativeError(await found[name].toHost(), wanted, smallest), name).toBeLessThan(5e-5);
          }
        });
      }),
      randomCases(20),
    );
  });

  test('to a cache of any dtype: the last rows of the whole, for few queries and many', async () => {
    for (const dtype of fewOnGpu(['i8', 'f32', 'f16', 'bf16'] as const, 1)) {
      await scoped(runtime(), async () => {
        const host = randomInputs({ b: 2, n: 90, m: 90, h: 4, g: 2, d: 8, e: 12 });
        const { q, r, k, v } = onDevice(runtime(), host);
        using cache = createKeyValueCache(runtime(), {
          layers: 1,
          rows: 2,
          capacity: 90,
          heads: 2,
          d: 8,
          e: 12,
          dtype,
        });
        cache.append(0, k, v);
        const whole = parallax(q, r, k, v, { causal: true, window: [50, 0] }).out;
        const tolerance = { f32: 1e-5, f16: 4e-3, bf16: 5e-2, i8: 5e-2 }[dtype];
        for (const n of [1, 5, 40]) {
          const last = (x: Tensor) => x.slice(1, 90 - n, 90);
          const { out } = parallax(last(q), last(r), cache.layer(0), { window: [50, 0] });
          expect(relativeError(await out.toHost(), await last(whole).toHost()), `${dtype} ${n}`).toBeLessThan(
            tolerance,
          );
        }
        const { out, lse } = parallax(q.slice(1, 88, 90), r.slice(1, 88, 90), cache.layer(0), { counts: [2, 0] });
        expect((await out.slice(0, 1, 2).read()).every((x) => x === 0)).toBe(true);
        expect(await lse.slice(0, 1, 2).read()).toEqual(new Float32Array(8).fill(Number.NEGATIVE_INFINITY));
      });
    }
  });

  test('the same bits on tracked tensors and others, and nothing left', async () => {
    const before = runtime().memory().live;
    await scoped(runtime(), async () => {
      const { q, r, k, v } = onDevice(runtime(), randomInputs({ b: 1, n: 20, m: 20, h: 1, g: 1, d: 4, e: 4 }));
      const { results, pull } = pullback(({ r }) => parallax(q, r, k, v), { r });
      expect(await results.out.read()).toEqual(await parallax(q, r, k, v).out.read());
      pull({ out: v } as never);
    });
    await runtime().finish();
    expect(runtime().memory().live).toBe(before);
  });
});

describe('what parallax refuses', () => {
  test('by name', async () => {
    const runtime = await createRuntime({ backend: 'reference' });
    const make = (...shape: number[]) => runtime.empty(shape);
    const [q, k] = [make(1, 4, 2, 3), make(1, 4, 1, 3)];
    const refused = (call: () => unknown, message: string) => expectRefusal(runtime, call, message);
    const wrong = make(1, 4, 1, 3);
    const unlike = 'r must have shape [b, n, h, d] with h = 2 as in q [1, 4, 2, 3], got [1, 4, 1, 3]';
    await refused(() => parallax(q, wrong, k, k), unlike);
    const whole = runtime.empty([1, 4, 2, 3], 'i32');
    await refused(() => parallax(q, whole, k, k), 'r must be f32, f16, bf16, got i32');
    await refused(() => parallax(q, q, k, k, { window: [0] } as never), 'window must be [left, right]');
    await refused(() => parallax(q, q, k, k, { scale: Number.NaN }), 'scale must be a finite number, got NaN');
    await refused(() => parallax(q, q, k, k, { score: 1 } as never), "parallax has no option 'score'");
    await refused(() => parallax(q, q, k, undefined as never), 'v must be a Tensor, got undefined');
    using cache = createKeyValueCache(runtime, { layers: 1, rows: 1, capacity: 4, heads: 1, d: 3 });
    cache.append(0, k, k);
    await refused(() => parallax(q, wrong, cache.layer(0)), unlike);
    await refused(() => parallax(q, q, cache.layer(0), { score: 1 } as never), "parallax has no option 'score'");
    runtime.dispose();
  });
});
