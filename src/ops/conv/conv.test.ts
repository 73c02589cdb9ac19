import { expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu, isOnGpu } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { expectAsInPyTorch } from '../../../test/vision';
import { conv, convTranspose, createRuntime, elementwise, pullback, type Runtime, type Tensor } from '../../index';
import { sizeOf } from '../../tensor/shape';

/** What the kernels treat in ways of their own, as shapes and options. */
const CASES = [
  // Groups of one channel, more than a vector of them, in tiles of every width.
  [[2, 9, 10, 6], [6, 1, 3, 5], { groups: 6, padding: 'same' }],
  [[1, 4, 31, 4], [4, 1, 5, 5], { groups: 4, padding: 2, stride: [1, 2] }],
  [[1, 2, 13, 8], [8, 1, 31, 31], { groups: 8, padding: 'same' }],
  // By 3 x 3 taps, whose channels lie side by side: a line of channels and some more, more columns than a tile has, a band of rows.
  [[2, 5, 6, 20], [20, 1, 3, 3], { groups: 20, padding: 1 }],
  [[1, 3, 131, 4], [4, 1, 3, 3], { groups: 4, padding: [[0, 2], 1] }],
  // Channel by channel in groups of some.
  [[3, 7, 12], [8, 3, 4], { groups: 4, dilation: 2, padding: 'causal' }],
  // So long that transforms take part, in windows that no later element reaches; and with as much padding behind.
  [[2, 1900, 6], [6, 1, 700], { groups: 6, padding: 'causal' }],
  [[1, 1300, 4], [4, 1, 400], { groups: 4, padding: 399 }],
  // Dense: more than a panel of pixels, a slice of outputs and a block of terms; rows of few channels.
  [[2, 5, 7, 48], [17, 48, 3, 3], { padding: 1 }],
  [[1, 9, 8, 3], [8, 3, 7, 7], { padding: 3, stride: 2 }],
  [[2, 3, 4, 3, 9], [9, 9, 2, 3, 1], { padding: [[1, 0], 1, 0] }],
  [[1, 5, 6, 4], [9, 4, 1, 1], {}],
] as const;

/** What transforms treat in ways of their own. */
const FOURIER = [
  // One window, whose zeros overlap with what no result needs; five channels; every radix.
  [[1, 14, 17, 5], [5, 1, 13, 8], { groups: 5, padding: 'same' }],
  // More windows than one, rows in more than one go, gaps between results and between taps, more pictures than one.
  [
    [2, 150, 9, 4],
    [4, 1, 9, 4],
    {
      groups: 4,
      padding: [
        [3, 7],
        [2, 0],
      ],
      dilation: [2, 1],
      stride: [3, 1],
    },
  ],
  // One axis, several channels of a group; then kernels larger than pictures, beyond which most padding lies.
  [[2, 700, 8], [8, 2, 40], { groups: 4, padding: [[38, 1]] }],
  [[1, 1, 6, 4], [4, 1, 5, 21], { groups: 4, padding: [3, 14] }],
] as const;

describeOnBackends('conv', (runtime) => {
  test('adds the taps of a hand example', async () => {
    using x = runtime().tensor([1, 2, 3, 4], [1, 2, 2, 1]);
    using weight = runtime().tensor([0, 0, 0, 1, 10, 100, 0, 1000, 0], [1, 1, 3, 3]);
    using bias = runtime().tensor([0.5], [1]);
    using out = await conv(x, weight, { bias, padding: 1 });
    expect([...(await out.read())]).toEqual([10 + 200 + 3000 + 0.5, 20 + 1 + 4000 + 0.5, 430.5, 43.5]);
  });

  test('and convTranspose agree with PyTorch, with their gradients', async () => {
    await expectAsInPyTorch(runtime(), {
      conv: ({ x, weight, bias }, options) => conv(x!, weight!, { ...options, bias, channelsFirst: true }),
      convTranspose: ({ x, weight, bias }, options) =>
        convTranspose(x!, weight!, { ...options, bias, channelsFirst: true }),
    });
  });

  test.each(fewOnGpu(CASES, 5))(
    'of x %j with kernels %j, %j agrees with the reference',
    async (shape, taps, options) => {
      using reference = await createRuntime({ backend: 'reference' });
      const [expected, found] = await Promise.all(
        [reference, runtime()].map((each) => computed(each, shape, taps, options)),
      );
      for (const [at, values] of expected!.entries()) expectClose(found![at]!, values, 1e-5 * Math.sqrt(sizeOf(taps)));
    },
  );

  test.skipIf(isOnGpu).each(FOURIER)(
    'by Fourier, of x %j with kernels %j, %j agrees with the reference',
    async (shape, taps, options) => {
      using reference = await createRuntime({ backend: 'reference' });
      const [expected, found] = await Promise.all(
        [reference, runtime()].map((each) => computed(each, shape, taps, { ...options, way: 'fourier' })),
      );
      for (const [at, values] of expected!.entries()) expectClose(found![at]!, values, 1e-5 * Math.sqrt(sizeOf(taps)));
    },
  );

  test.skipIf(isOnGpu).each([
    [[1, 3000, 1], [1, 1, 1023], { groups: 1, padding: 'causal' }, 1, 'and direct within them'],
    [[1, 1500, 5], [5, 1, 600], { groups: 5, padding: 599 }, 5, 'and direct within them'],
    [[1, 40, 40, 4], [4, 1, 21, 21], { groups: 4, padding: ['causal', 'same'] }, 160, 'direct, as it is causal'],
  ] as const)(
    'causal: of x %j with kernels %j, %j nothing later reaches earlier results, forward or backward, nor NaN those that do not read it',
    (shape, taps, options, row, way) =>
      scoped(runtime(), async () => {
        const x = runtime().random(shape, { seed: 1 });
        const weight = runtime().random(taps, { seed: 2 });
        const results = conv(x, weight, options).shape;
        const grad = runtime().random(results, { seed: 3 });
        const at = row * Math.floor(0.6 * shape[1]);
        const spoiled = async (of: Tensor) => {
          const values = Float32Array.from(await of.read());
          for (const [more, value] of [1e6, Number.NaN, Number.POSITIVE_INFINITY].entries())
            values[at + more * row] = value;
          return runtime().tensor(values, of.shape);
        };
        const of = async (x: Tensor, grad: Tensor) => {
          const { results, pull } = pullback((given) => conv(given.x, weight, options), { x });
          return Promise.all([results.read(), (pull(grad).x as Tensor).read()]);
        };
        const [out, back] = await of(x, grad);
        const later = at + 3 * row;
        const reach = row * taps[2];
        const [spoiledOut] = await of(await spoiled(x), grad);
        expect(spoiledOut!.subarray(0, at)).toEqual(out!.subarray(0, at));
        expect(spoiledOut!.subarray(later + reach).every(Number.isFinite)).toBe(true);
        const [, spoiledBack] = await of(x, await spoiled(grad));
        expect(spoiledBack!.subarray(later)).toEqual(back!.subarray(later));
        expect(spoiledBack!.subarray(0, Math.max(0, at - reach)).every(Number.isFinite)).toBe(true);
        expect(() => conv(x, weight, { ...options, way: 'fourier' })).toThrow(
          "way must be 'auto' or 'direct' for causal padding",
        );
        if (runtime().backend.name === 'wasm') expect(runtime().explain()).toContain(way);
      }),
  );

  test('writes where it is told, in both layouts alike', async () => {
    await scoped(runtime(), async () => {
      const x = runtime().random([2, 4, 5, 6], { seed: 1 });
      const weight = runtime().random([9, 6, 3, 3], { seed: 2 });
      const epilogue = elementwise((y) => Math.max(y, 0) * 2);
      const bias = runtime().random([9], { seed: 3 });
      const { out, check } = guarded(runtime(), [2, 9, 4, 5]);
      const first = { bias, epilogue, padding: 1, channelsFirst: true } as const;
      expect(await conv(x.permute([0, 3, 1, 2]), weight, { ...first, out })).toBe(out);
      const last = await conv(x, weight, { bias, padding: 1 });
      const turned = runtime()
        .tensor(await last.read(), [2, 20, 9])
        .permute([0, 2, 1]);
      const expected = Float64Array.from((await turned.toHost()).data as Float32Array, (y) => Math.max(y, 0) * 2);
      expectClose(await out.read(), expected, 1e-5);
      out.dispose();
      await check();
    });
  });

  test.skipIf(isOnGpu)('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([1, 4, 3, 4]);
    using weight = runtime().random([2, 4, 3, 3]);
    using three = runtime().random([3]);
    using line = runtime().random([2, 4, 3]);
    using flat = runtime().random([1, 4]);
    using pixel = runtime().random([1, 1, 1, 4]);
    using long = runtime().random([1, 1, 1]);
    using tap = runtime().random([1, 1, 1]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => conv(flat, weight), 'x must have shape [b, ...space, c]');
    await refuse(() => conv(x, line), 'weight must have as many axes as x [1, 4, 3, 4], got [2, 4, 3]');
    await refuse(() => conv(x, weight, { groups: 3 }), 'groups must divide the 4 channels of x [1, 4, 3, 4], got 3');
    await refuse(() => conv(x, weight, { groups: 2 }), 'weight must have shape [o, 2, ...kernel]');
    await refuse(
      () => conv(x, weight, { bias: three }),
      'bias must have shape [2], one for each channel of the result, got [3]',
    );
    await refuse(
      () => conv(pixel, weight),
      'weight [2, 4, 3, 3] reaches over 3 elements, more than the 1 of x [1, 1, 1, 4]',
    );
    await refuse(
      () => conv(x, weight, { stride: 0 }),
      'stride must be an integer >= 1, or one for each spatial axis, got 0',
    );
    await refuse(
      () => conv(x, weight, { dilation: [1] }),
      'dilation must have one value for each of the 2 spatial axes, got [1]',
    );
    await refuse(() => conv(x, weight, { padding: -1 }), "padding must be an integer >= 0, 'same', 'causal'");
    await refuse(
      () => conv(x, weight, { padding: [1, 3], edges: 'reflect' }),
      'padding must be less than the 3 elements of x [1, 4, 3, 4] where it reflects them, got 3',
    );
    await refuse(() => conv(long, tap, { padding: 2 ** 30 }), '2^31 or more');
    await refuse(
      () => conv(long, tap, { padding: 2 ** 24, way: 'fourier' }),
      "way must be 'auto' or 'direct' for kernels [1, 1, 1] of x [1, 1, 1]",
    );
    await refuse(() => convTranspose(x, weight), 'weight must have shape [c, o, ...kernel] with c = 4 as in x');
  });
});

test('epilogues of several steps are applied to more results than their registers hold', async () => {
  using runtime = await createRuntime({ threads: 1 });
  await scoped(runtime, async () => {
    const f = (y: number) => Math.exp(-y * y) * Math.tanh(y) + Math.cos(y);
    for (const [shape, taps, groups] of [
      [[1, 40, 40, 8], [8, 1, 5, 5], 8],
      [[1, 12, 12, 4], [480, 4, 2, 2], 1],
    ] as const) {
      const x = runtime.random(shape, { seed: 1 });
      const weight = runtime.random(taps, { seed: 2 });
      const [plain, found] = await Promise.all(
        [undefined, elementwise(f)].map((epilogue) => conv(x, weight, { groups, epilogue }).read()),
      );
      expectClose(found!, plain!.map(f), 1e-5);
    }
  });
});

test('memory is that of tensors and 8 MiB a thread; explain() tells the way of large kernels, which have bias and epilogue either way', async () => {
  using runtime = await createRuntime({ threads: 1 });
  const { reserved } = runtime.memory();
  await scoped(runtime, async () => {
    const x = runtime.random([1, 40, 40, 8], { seed: 1 });
    const weight = runtime.random([8, 1, 21, 21], { seed: 2 });
    const bias = runtime.random([8], { seed: 3 });
    const options = { groups: 8, padding: 'same', bias, epilogue: elementwise((y) => Math.max(y, 0)) } as const;
    const [auto, direct] = await Promise.all(
      (['auto', 'direct'] as const).map((way) => conv(x, weight, { ...options, way }).read()),
    );
    expectClose(auto!, direct!, 1e-4);
    const large = 'conv of 1 x 40 x 40 x 8 by 1 x 21 x 21: ';
    expect(runtime.explain()).toContain(`${large}Fourier in one window of 54 x 54, by the model of cost: `);
    expect(runtime.explain()).toContain(`${large}direct, as asked for`);
    await conv(x, runtime.random([64, 8, 5, 5]));
    expect(runtime.memory().reserved - reserved).toBeLessThan(runtime.memory().live + 2 ** 23);
  });
});

async function computed(runtime: Runtime, shape: readonly number[], taps: readonly number[], options: object) {
  return scoped(runtime, async () => {
    const x = runtime.random(shape, { seed: 1 });
    const weight = runtime.random(taps, { seed: 2 });
    const { results, pull } = pullback((given) => conv(given.x, given.weight, options), { x, weight });
    const gradients = pull(runtime.random(results.shape, { seed: 3 }));
    return Promise.all([results, gradients.x, gradients.weight].map((each: Tensor) => each.read()));
  });
}
