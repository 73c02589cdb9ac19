import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeWithMachineCode, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { type AttentionOptions, attention, createRuntime, type DType, type Runtime, type Tensor } from '../../index';
import { oneHead } from '../../masks/mask';
import { bandOf } from '.';
import { softmaxAttention } from './softmax';

interface Shapes {
  readonly b: number;
  readonly n: number;
  readonly m: number;
  readonly h: number;
  readonly g: number;
  readonly d: number;
  readonly e: number;
}

type Layout = 'rows' | 'heads first' | 'elements first';
type Inputs = Readonly<Record<'q' | 'k' | 'v', Tensor>>;

/** A random tensor [b, rows, heads, width], or a view of that shape of memory in another order. */
function random(runtime: Runtime, shape: readonly number[], seed: number, dtype: DType, layout: Layout): Tensor {
  const [b, rows, heads, width] = shape as [number, number, number, number];
  const options = { seed, dtype: dtype as 'f32' };
  if (layout === 'rows') return runtime.random(shape, options);
  const headsFirst = layout === 'heads first';
  const whole = runtime.random(headsFirst ? [b, heads, rows, width] : [b, width, rows, heads], options);
  const view = whole.permute(headsFirst ? [0, 2, 1, 3] : [0, 2, 3, 1]);
  whole.dispose();
  return view;
}

function randomInputs(runtime: Runtime, s: Shapes, dtype: DType = 'f32', layout: Layout = 'rows'): Inputs {
  return {
    q: random(runtime, [s.b, s.n, s.h, s.d], 1, dtype, layout),
    k: random(runtime, [s.b, s.m, s.g, s.d], 2, dtype, layout),
    v: random(runtime, [s.b, s.m, s.g, s.e], 3, dtype, layout),
  };
}

/** Runs attention into guarded memory and compares it with the definition in float64. */
async function expectExact(
  runtime: Runtime,
  { q, k, v }: Inputs,
  options: AttentionOptions = {},
  tolerance = 1e-5,
): Promise<void> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const m = k.shape[1] as number;
  const e = v.shape[3] as number;
  const host = { q: await q.toHost(), k: await k.toHost(), v: await v.toHost() };
  const mask = bandOf(options);
  const scale = options.scale ?? 1 / Math.sqrt(d);
  const expected = softmaxAttention(host, scale, (i, j) => mask.sees(i, j, oneHead(n, m)));

  const lse = guarded(runtime, [b, n, h]);
  if (q.dtype === 'f32') {
    const out = guarded(runtime, [b, n, h, e]);
    await attention(q, k, v, { ...options, out: out.out, lse: lse.out });
    expectClose(await out.out.read(), expected.out.data, tolerance * largest(expected.out.data));
    out.out.dispose();
    await out.check();
  } else {
    const { out } = await attention(q, k, v, { ...options, lse: lse.out });
    const widened = q.dtype === 'f16' ? new Float16Array((await out.read()).buffer as ArrayBuffer) : undefined;
    const values =
      widened ?? Array.from(await out.read(), (bits) => new Float32Array(Uint32Array.of(bits << 16).buffer)[0]!);
    expectClose(values, expected.out.data, (q.dtype === 'f16' ? 1e-3 : 8e-3) * largest(expected.out.data));
    out.dispose();
  }
  expectLse(await lse.out.read(), expected.lse.data);
  lse.out.dispose();
  await lse.check();
}

function expectLse(actual: Float32Array, expected: Float64Array): void {
  const rounded = Float32Array.from(expected);
  expectClose(
    actual,
    rounded,
    rounded.map((x) => 1e-5 + 1e-6 * Math.abs(x)),
  );
}

const largest = (values: Float64Array) =>
  values.reduce((a, x) => (Number.isFinite(x) ? Math.max(a, Math.abs(x)) : a), 1);

const extent = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 13, max: 90 }));
const width = fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 1, max: 40 }) }, fc.integer({ min: 41, max: 256 }));
const reach = fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 40 }));
const options = fc.record(
  {
    causal: fc.boolean(),
    window: fc.tuple(reach, reach),
    scale: fc.double({ min: -1, max: 1, noNaN: true }),
  },
  { requiredKeys: [] },
);

describeWithMachineCode('attention', (runtime) => {
  test('agrees with the definition on odd shapes, grouped heads, every mask, dtype and layout', async () => {
    const shapes = fc
      .record({
        b: fc.integer({ min: 1, max: 2 }),
        n: extent,
        m: extent,
        g: fc.integer({ min: 1, max: 3 }),
        repeat: fc.integer({ min: 1, max: 3 }),
        d: width,
        e: width,
      })
      .map(({ repeat, ...s }) => ({ ...s, h: s.g * repeat }));
    const dtype = fc.constantFrom<DType>('f32', 'f32', 'f16', 'bf16');
    const layout = fc.constantFrom<Layout>('rows', 'heads first', 'elements first');
    await fc.assert(
      fc.asyncProperty(shapes, options, dtype, layout, async (s, given, dtype, layout) => {
        const before = runtime().memory().live;
        const inputs = randomInputs(runtime(), s, dtype, layout);
        await expectExact(runtime(), inputs, given);
        for (const tensor of Object.values(inputs)) tensor.dispose();
        expect(runtime().memory().live).toBe(before);
      }),
      randomCases(60),
    );
  });

  test.each([
    { n: 700, m: 700, options: { causal: true } },
    { n: 31, m: 1500, options: {} },
    { n: 1200, m: 40, options: { causal: true } },
    { n: 900, m: 900, options: { window: [100, 7] as const } },
    { n: 1, m: 1, options: {} },
    { n: 5, m: 2000, options: { causal: true, window: [3, -1] as const } },
  ])('crosses blocks of keys: n = $n, m = $m, $options', async ({ n, m, options }) => {
    using q = runtime().random([1, n, 2, 9], { seed: 4 });
    using k = runtime().random([1, m, 1, 9], { seed: 5 });
    using v = runtime().random([1, m, 1, 11], { seed: 6 });
    await expectExact(runtime(), { q, k, v }, options);
  });

  test('queries before the first key give zeros and lse -Infinity', async () => {
    using q = runtime().random([1, 5, 1, 3], { seed: 1 });
    using k = runtime().random([1, 2, 1, 3], { seed: 2 });
    using v = runtime().random([1, 2, 1, 3], { seed: 3 });
    const { out, lse } = await attention(q, k, v, { causal: true });
    expect([...(await out.read()).subarray(0, 9)]).toEqual(new Array(9).fill(0));
    expect([...(await lse.read()).subarray(0, 3)]).toEqual(new Array(3).fill(Number.NEGATIVE_INFINITY));
    expect((await lse.read())[3]).toBeGreaterThan(-100);
    out.dispose();
    lse.dispose();
  });

  describe('takes values of every size', () => {
    const shape = { b: 1, n: 30, m: 50, h: 2, g: 1, d: 8, e: 5 };
    // Scores of size s carry a float32 error of about s * 2^-23, which the exponential turns into a relative one.
    test.each([
      [1e-30, 1e-5],
      [30, 1e-4],
      [1e3, 2e-2],
      [1e10, 1e-5],
      [1e15, 1e-5],
      [1e19, 1e-5],
      [1e30, 1e-5],
      [1e38, 1e-5],
    ])('queries times %f', async (factor, tolerance) => {
      const { q, k, v } = randomInputs(runtime(), shape);
      using large = runtime().tensor(
        ((await q.read()) as Float32Array).map((x) => Math.min(3e38, Math.max(-3e38, x * factor))),
        q.shape,
      );
      const { out, lse } = await attention(large, k, v);
      const host = { q: await large.toHost(), k: await k.toHost(), v: await v.toHost() };
      const expected = softmaxAttention(host, 1 / Math.sqrt(8), () => true);
      expectClose(await out.read(), expected.out.data, tolerance);
      expectLse(await lse.read(), expected.lse.data);
      for (const tensor of [q, k, v, out, lse]) tensor.dispose();
    });

    test.each([1e-40, 1e13, 1e30, 1e38])('values times %f', async (factor) => {
      const { q, k, v } = randomInputs(runtime(), shape);
      const scaled = ((await v.read()) as Float32Array).map((x) => Math.min(3e38, Math.max(-3e38, x * factor)));
      using large = runtime().tensor(scaled, v.shape);
      const { out, lse } = await attention(q, k, large);
      const host = { q: await q.toHost(), k: await k.toHost(), v: await large.toHost() };
      const expected = softmaxAttention(host, 1 / Math.sqrt(8), () => true);
      // WGSL lets a GPU take denormals for zeros.
      const least = runtime().backend.name === 'webgpu' ? 2 ** -126 : 1e-44;
      expectClose(
        await out.read(),
        expected.out.data,
        1e-5 * scaled.reduce((a, x) => Math.max(a, Math.abs(x))) + least,
      );
      for (const tensor of [q, k, v, out, lse]) tensor.dispose();
    });

    test('one key far above the others takes all the weight', async () => {
      using q = runtime().tensor(new Float32Array(4 * 8).fill(1), [1, 4, 1, 8]);
      const keys = new Float32Array(500 * 8);
      keys.fill(1e4, 444 * 8, 445 * 8);
      using k = runtime().tensor(keys, [1, 500, 1, 8]);
      using v = runtime().random([1, 500, 1, 3], { seed: 9 });
      const { out, lse } = await attention(q, k, v);
      const winner = (await v.read()).subarray(444 * 3, 445 * 3);
      for (let i = 0; i < 4; i++) expectClose((await out.read()).subarray(3 * i, 3 * i + 3), winner, 0);
      out.dispose();
      lse.dispose();
    });

    test('the maximum rises in every block', async () => {
      using q = runtime().tensor(new Float32Array(2).fill(1), [1, 2, 1, 1]);
      using k = runtime().tensor(
        Float32Array.from({ length: 2000 }, (_, j) => j / 8),
        [1, 2000, 1, 1],
      );
      using v = runtime().random([1, 2000, 1, 4], { seed: 9 });
      await expectExact(runtime(), { q, k, v }, {}, 1e-4);
    });
  });

  test('infinities and NaN propagate as in the definition, and not at all from keys that are not seen', async () => {
    const special = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('q', 'k', 'v'), fc.nat(), special, options, async (name, at, value, given) => {
        const inputs: Record<string, Tensor> = {
          ...randomInputs(runtime(), { b: 1, n: 30, m: 35, h: 2, g: 2, d: 4, e: 3 }),
        };
        const values = (await inputs[name]!.read()) as Float32Array;
        values[at % values.length] = value;
        const { shape } = inputs[name]!;
        inputs[name]!.dispose();
        inputs[name] = runtime().tensor(values, shape);
        await expectExact(runtime(), inputs as unknown as Inputs, given);
        for (const tensor of Object.values(inputs)) tensor.dispose();
      }),
      randomCases(60),
    );
  });

  describe('refuses, by name', () => {
    const shapes = { b: 1, n: 3, m: 4, h: 2, g: 2, d: 5, e: 6 };
    const refusals: [string, (inputs: Inputs, r: Runtime) => unknown, string][] = [
      [
        'a rank',
        ({ q, k, v }) => attention(q.slice(0, 0, 1).reshape([3, 10]), k, v),
        'q must have shape [b, n, h, d], got [3, 10]',
      ],
      ['a head dimension', ({ q, v }) => attention(q, v, v), 'k must have shape [b, m, g, d] with d = 5'],
      [
        'a number of keys',
        ({ q, k, v }) => attention(q, k, v.slice(1, 0, 3)),
        'v must have shape [b, m, g, e] with m = 4',
      ],
      ['an empty axis', ({ q, k, v }) => attention(q.slice(1, 0, 0), k, v), 'q [1, 0, 2, 5] is empty along n'],
      [
        'heads that do not divide',
        ({ q, k, v }) => attention(q.slice(2, 0, 1), k, v),
        'the 2 heads of k [1, 4, 2, 5] must divide the 1 heads of q',
      ],
      [
        'a large head',
        ({ v }, r) => attention(r.empty([1, 3, 2, 257]), r.empty([1, 4, 2, 257]), v),
        'at most 256, got [1, 3, 2, 257]',
      ],
      ['a dtype', ({ k, v }, r) => attention(r.empty([1, 3, 2, 5], 'i32'), k, v), 'q must be f32, f16, bf16, got i32'],
      ['a scale', ({ q, k, v }) => attention(q, k, v, { scale: Number.NaN }), 'scale must be a finite number, got NaN'],
      [
        'a window',
        ({ q, k, v }) => attention(q, k, v, { window: [1.5, 0] }),
        'window left must be an integer >= 0, or -1 for unbounded, got 1.5',
      ],
      [
        'an option',
        ({ q, k, v }) => attention(q, k, v, { casual: true } as object),
        "attention has no option 'casual'",
      ],
      ['what is no tensor', ({ q, k }) => attention(q, k, [1, 2] as never), 'v must be a Tensor, got [1, 2]'],
      [
        'an out of the wrong shape',
        ({ q, k, v }, r) => attention(q, k, v, { out: r.empty([1, 3, 2, 5]) }),
        'out must have shape [1, 3, 2, 6], got [1, 3, 2, 5]',
      ],
      ['an out that is an input', ({ q, k }) => attention(q, k, k, { out: q }), 'out shares memory with q'],
      [
        'an out and an lse in one memory',
        ({ q, k, v }, r) => {
          const out = r.empty([1, 3, 2, 6]);
          return attention(q, k, v, { out, lse: out.reshape([36]).slice(0, 30, 36).reshape([1, 3, 2]) });
        },
        'lse shares memory with out: pass a tensor of its own',
      ],
    ];
    test.each(refusals)('%s', async (_, call, message) => {
      const before = runtime().memory().live;
      await scoped(runtime(), async () => {
        const inputs = randomInputs(runtime(), shapes);
        await expect(async () => call(inputs, runtime())).rejects.toThrow(message);
      });
      expect(runtime().memory().live).toBe(before);
    });

    test('a disposed tensor and a tensor of another runtime', async () => {
      const { q, k, v } = randomInputs(runtime(), shapes);
      using other = await createRuntime({ backend: 'reference' });
      using foreign = other.random(v.shape, { seed: 1 });
      await expectRefusal(runtime(), () => attention(q, k, foreign), 'v lives on another runtime than q');
      v.dispose();
      await expectRefusal(runtime(), () => attention(q, k, v), 'v: the tensor of shape [1, 4, 2, 6] was disposed');
      q.dispose();
      k.dispose();
    });

    test('a call that was cancelled before it began', async () => {
      const inputs = randomInputs(runtime(), shapes);
      const signal = AbortSignal.abort(new Error('enough'));
      await expectRefusal(runtime(), () => attention(inputs.q, inputs.k, inputs.v, { signal }), 'enough');
      for (const tensor of Object.values(inputs)) tensor.dispose();
    });
  });

  test('an out and an lse may lie side by side in one memory', async () => {
    await scoped(runtime(), async () => {
      const inputs = randomInputs(runtime(), { b: 1, n: 3, m: 4, h: 2, g: 2, d: 5, e: 6 });
      const { q, k, v } = inputs;
      const whole = runtime().empty([42]);
      const [out, lse] = [whole.slice(0, 0, 36).reshape([1, 3, 2, 6]), whole.slice(0, 36, 42).reshape([1, 3, 2])];
      await attention(q, k, v, { out, lse });
      const apart = await attention(q, k, v);
      expect(await whole.read()).toEqual(
        Float32Array.of(...((await apart.out.read()) as Float32Array), ...(await apart.lse.read())),
      );
    });
  });

  test('inputs may be disposed while the call runs', async () => {
    const before = runtime().memory().live;
    const { q, k, v } = randomInputs(runtime(), { b: 1, n: 200, m: 200, h: 4, g: 4, d: 16, e: 16 });
    const pending = attention(q, k, v);
    for (const tensor of [q, k, v]) tensor.dispose();
    const { out, lse } = await pending;
    expect((await out.read()).every(Number.isFinite)).toBe(true);
    out.dispose();
    lse.dispose();
    expect(runtime().memory().live).toBe(before);
  });
});
