import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import published from '../../../test/fixtures/rope.json';
import { expectGradients } from '../../../test/tape-gradients';
import { attention, type DType, type RopeOptions, type RopeSettings, rope, type Tensor } from '../../index';
import { toFloat64 } from '../../tensor/host';

describeOnBackends('rope', (runtime) => {
  test('turns pairs by angles that grow with the position', async () => {
    using x = runtime().tensor([1, 2, 0, 5, 1, 2, 0, 5, 1, 2, 0, 5], [3, 1, 4]);
    using halves = rope(x, { theta: 100 });
    using neighbours = rope(x, { theta: 100, layout: 'interleaved', dimensions: 2 });
    expect(halves.shape).toEqual([3, 1, 4]);
    const [c, s] = [Math.cos, Math.sin];
    const byHalf = [0, 1, 2].map((t) => [c(t), 2 * c(t / 10) - 5 * s(t / 10), s(t), 5 * c(t / 10) + 2 * s(t / 10)]);
    expectClose(await halves.read(), byHalf.flat(), 1e-6);
    const byPair = [0, 1, 2].map((t) => [c(t) - 2 * s(t), 2 * c(t) + s(t), 0, 5]);
    expectClose(await neighbours.read(), byPair.flat(), 1e-6);
  });

  test('agrees with the definition on any shape, storage, layout and strides', async () => {
    const extent = fc.integer({ min: 1, max: 5 });
    const options = fc.record({
      layout: fc.constantFrom('half' as const, 'interleaved' as const),
      pairs: fc.integer({ min: 1, max: 20 }),
      rest: fc.integer({ min: 0, max: 5 }),
      dtype: fc.constantFrom('f32' as const, 'f16' as const, 'bf16' as const),
      order: fc.constantFrom<number[]>([0, 1, 2, 3], [0, 2, 1, 3], [3, 1, 0, 2]),
      places: fc.constantFrom('offset', 'rows', 'batches'),
    });
    await fc.assert(
      fc.asyncProperty(
        extent,
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 11 }),
        options,
        async (b, n, h, given) => {
          const { layout, pairs, rest, dtype, order, places } = given;
          const d = 2 * pairs + rest;
          const shape = [b, n, h, d];
          using memory = runtime().random(
            order.map((axis) => shape[axis] as number),
            { seed: n, dtype },
          );
          using x = memory.permute([0, 1, 2, 3].map((axis) => order.indexOf(axis)));
          const count = places === 'batches' ? b * n : n;
          const at = Int32Array.from({ length: count }, (_, i) => (i * 2654435761) % 100_003);
          using list = runtime().tensor(at, places === 'batches' ? [b, n] : [n]);
          const positions = places === 'offset' ? { offset: -3 } : list;
          const { out, check } = guarded(runtime(), shape, dtype);
          const settings = { layout, dimensions: 2 * pairs, theta: 77 };
          expect(rope(x as Tensor, { ...settings, positions, out: out as Tensor })).toBe(out);
          const positionOf = (row: number) => (places === 'offset' ? (row % n) - 3 : (at[row % count] as number));
          const step = { f32: 2e-6, f16: 2 ** -11, bf16: 2 ** -8 }[dtype];
          expectClose(toFloat64(await out.toHost()), await defined(x, settings, positionOf), 8 * step);
          out.dispose();
          await check();
        },
      ),
      randomCases(40),
    );
  });

  test('is exact to a millionth at far positions, before and behind zero', async () => {
    const places = [1_000_000, 999_999, -1_000_000, 10_000_000, 131_071, -7];
    using positions = runtime().tensor(Int32Array.from(places), [places.length]);
    for (const layout of ['half', 'interleaved'] as const) {
      using x = runtime().tensor(new Float32Array(places.length * 128).fill(1), [places.length, 1, 128]);
      using out = rope(x, { positions, layout });
      expectClose(await out.read(), await defined(x, { layout }, (row) => places[row] as number), 1e-6);
    }
    using last = runtime().tensor([1, 0], [1, 1, 2]);
    using out = rope(last, { positions: { offset: 2 ** 31 - 1 } });
    expectClose(await out.read(), [Math.cos(2 ** 31 - 1), Math.sin(2 ** 31 - 1)], 3e-6);
  });

  test.each(published)(
    'frequencies and amplitudes are those published: $settings',
    async ({ settings, d, frequencies, amplitude }) => {
      const half = d / 2;
      using x = runtime().tensor(
        Float32Array.from({ length: 2 * d }, (_, i) => (i % d < half ? 1 : 0)),
        [2, 1, d],
      );
      using positions = runtime().tensor([1, 30_000], [2], 'i32');
      using out = rope(x, { ...(settings as RopeSettings), positions });
      const expected = [1, 30_000].flatMap((position) => [
        ...frequencies.map((frequency) => amplitude * Math.cos(position * frequency)),
        ...frequencies.map((frequency) => amplitude * Math.sin(position * frequency)),
      ]);
      expectClose(await out.read(), expected, 1e-6);
    },
  );

  test('products of queries and keys follow from distances, whatever the position', async () => {
    using q = runtime().random([2, 5, 3, 8], { seed: 1 });
    using k = runtime().random([2, 5, 3, 8], { seed: 2 });
    const scoresAt = async (offset: number) => {
      using rotatedQ = rope(q, { positions: { offset } });
      using rotatedK = rope(k, { positions: { offset } });
      const { out, lse } = attention(rotatedQ, rotatedK, k);
      out.dispose();
      using sums = lse;
      return sums.read();
    };
    expectClose(await scoresAt(70_001), await scoresAt(0), 2e-6);
  });

  test('linear scaling takes positions apart, half of them between those of training', async () => {
    using x = runtime().random([1, 1, 6], { seed: 3 });
    using scaled = rope(x, { positions: { offset: 12 }, scaling: { type: 'linear', factor: 4 } });
    using plain = rope(x, { positions: { offset: 3 } });
    expectClose(await scaled.read(), await plain.read(), 1e-6);
  });

  test('writes over its input, and back', async () => {
    for (const dtype of ['f32', 'f16'] as const) {
      using x = runtime().random([2, 37, 3, 10], { seed: 4, dtype });
      using expected = rope(x, { dimensions: 6 });
      expect(rope(x, { dimensions: 6, out: x })).toBe(x);
      expect(await x.read()).toEqual(await expected.read());
    }
  });

  test('infinities and NaN stay in their pairs', async () => {
    using x = runtime().tensor([Infinity, 1, 2, Number.NaN, 1e-40, 3], [1, 1, 6]);
    using out = rope(x, { dimensions: 4, positions: { offset: 1 } });
    const [a, b, c, d, e, f] = await out.read();
    expect([a, b, c, d, f]).toEqual([Infinity, Number.NaN, Infinity, Number.NaN, 3]);
    expect(Math.abs(e as number)).toBeLessThan(1.1e-40);
  });

  test('its gradient is that of differences', async () => {
    const scaling = { type: 'yarn', factor: 4, originalLength: 8 } as const;
    for (const options of [{}, { layout: 'interleaved', dimensions: 4 }, { scaling }] as RopeOptions[])
      await expectGradients(runtime(), {
        fn: ({ x, positions }) => rope(x as Tensor, { ...options, positions: positions as Tensor }),
        inputs: {
          x: [2, 3, 2, 6],
          positions: { dtype: 'i32', shape: [2, 3], data: Int32Array.from([5, 0, 9, -2, 1, 70]) },
        },
      });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 3, 1, 6]);
    using odd = runtime().random([3, 1, 5]);
    using flat = runtime().random([3, 6]);
    using integers = runtime().tensor(new Int32Array(6), [3, 1, 2]);
    using positions = runtime().tensor(new Int32Array(4), [4]);
    using floats = runtime().random([3]);
    using swapped = x.permute([1, 0, 2, 3]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    const refuseOptions = (options: object, message: string) => refuse(() => rope(x, options), message);
    await refuse(() => rope(flat), 'x must have shape [..., n, h, d], got [3, 6]');
    await refuse(() => rope(integers), 'x must be f32, f16, bf16, got i32');
    await refuse(() => rope(odd), 'd, of which all dimensions are rotated, must be even, got 5');
    await refuseOptions({ dimensions: 3 }, 'dimensions must be even, got 3');
    await refuseOptions({ dimensions: 8 }, 'dimensions must be an integer from 2 to 6, got 8');
    await refuseOptions({ theta: 0 }, 'theta must be a finite number >= 1, got 0');
    await refuseOptions({ layout: 'neox' }, "layout must be one of half, interleaved, got 'neox'");
    await refuseOptions({ positions }, 'positions must have shape [3] or [2, 3], got [4]');
    await refuseOptions({ positions: floats }, 'positions must be i32, got f32');
    await refuseOptions({ positions: { offset: 0.5 } }, 'offset of positions must be an integer');
    await refuseOptions({ positions: { offset: 2 ** 31 - 2 } }, 'offset of positions must be an integer');
    await refuseOptions({ positions: { start: 1 } }, "positions have no 'start': expected offset");
    await refuseOptions({ scaling: { type: 'ntk', factor: 2 } }, 'type of scaling must be one of linear, llama3, yarn');
    await refuseOptions(
      { scaling: { type: 'linear', factor: 2, originalLength: 8 } },
      "scaling has no option 'originalLength': expected factor",
    );
    await refuseOptions({ scaling: { type: 'yarn', factor: 0.5, originalLength: 8 } }, 'factor of scaling must be');
    await refuseOptions(
      { scaling: { type: 'llama3', factor: 2, lowFrequencyFactor: 4, highFrequencyFactor: 4, originalLength: 8 } },
      'highFrequencyFactor of scaling must be above lowFrequencyFactor 4, got 4',
    );
    await refuseOptions(
      { scaling: { type: 'factors', factors: [1, 0] } },
      'factors of scaling must be positive numbers',
    );
    await refuseOptions(
      { scaling: { type: 'factors', factors: [1] } },
      'factors of rope must be 3, one for each pair, got 1',
    );
    await refuse(() => rope(swapped, { out: swapped }), 'x [3, 2, 1, 6] must be contiguous');
    await refuse(() => rope(x, { out: odd }), 'out must have shape [2, 3, 1, 6]');
    await refuseOptions({ base: 1 }, "rope has no option 'base'");
  });
});

/** Element by element, in float64. */
async function defined(
  x: Tensor<DType>,
  { layout = 'half', dimensions, theta = 10_000 }: RopeSettings,
  positionOf: (row: number) => number,
): Promise<Float64Array> {
  const values = toFloat64(await x.toHost());
  const [h, d] = x.shape.slice(-2) as [number, number];
  const count = dimensions ?? d;
  return values.map((value, at) => {
    const c = at % d;
    if (c >= count) return value;
    const isFirst = layout === 'half' ? c < count / 2 : c % 2 === 0;
    const pair = layout === 'half' ? c % (count / 2) : Math.floor(c / 2);
    const apart = layout === 'half' ? count / 2 : 1;
    const angle = positionOf(Math.floor(at / (h * d))) * theta ** ((-2 * pair) / count);
    const other = values[isFirst ? at + apart : at - apart] as number;
    return value * Math.cos(angle) + (isFirst ? -other : other) * Math.sin(angle);
  });
}
