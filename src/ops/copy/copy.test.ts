import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeWithMachineCode, randomCases } from '../../../test/backends';
import { expectRefusal, guarded } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import {
  cast,
  concat,
  contiguous,
  convert,
  createRuntime,
  type DType,
  DTypeError,
  hostTensor,
  pad,
  pullback,
  type Runtime,
  type Tensor,
} from '../../index';
import { toFloat64 } from '../../tensor/host';

const dtypes = fc.constantFrom('f32' as const, 'f16' as const, 'bf16' as const, 'i32' as const);
const shapes = fc.array(fc.nat({ max: 5 }), { maxLength: 4 });
const draws = fc.array(fc.nat({ max: 99 }), { minLength: 8, maxLength: 8 });

/** Numbers that every dtype holds exactly, all different. */
function numbered(runtime: Runtime, shape: readonly number[], dtype: 'f32' | 'f16' | 'bf16' | 'i32' = 'f32'): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const bits = dtype === 'f32' || dtype === 'i32' ? 0 : 0x3c00;
  const numbers = Array.from({ length: size }, (_, at) => bits + at);
  return runtime.fromHost(
    bits ? hostTensor(Uint16Array.from(numbers), shape, dtype) : hostTensor(numbers, shape, dtype),
  );
}

/** A view by drawn numbers: axes turned, one of them cut, one repeated, and one in front. */
function viewOf(x: Tensor, [turn, axis, first, past, repeated, times, front]: readonly number[]): Tensor {
  if (x.rank === 0) return x.expand([(front as number) % 3]);
  const axes = [...x.shape.keys()];
  const turned = x.permute([...axes.splice((turn as number) % x.rank), ...axes]);
  const at = (axis as number) % x.rank;
  const extent = turned.shape[at] as number;
  const [from, to] = [first, past].map((drawn) => (drawn as number) % (extent + 1)).sort((a, b) => a - b);
  const cut = turned.slice(at, from as number, to as number);
  const thin = (repeated as number) % x.rank;
  if (cut.shape[thin] === 0) return cut;
  const whole = cut.slice(thin, 0, 1);
  const shape = whole.shape.map((extent, each) => (each === thin ? (times as number) % 4 : extent));
  return whole.expand([1 + ((front as number) % 3), ...shape]);
}

describeWithMachineCode('contiguous', (runtime) => {
  test('copies views of every kind and dtype in row-major order', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, dtypes, draws, async (shape, dtype, drawn) => {
        const { live } = runtime().memory();
        await scoped(runtime(), async () => {
          for (const x of [numbered(runtime(), shape, dtype), viewOf(numbered(runtime(), shape, dtype), drawn)]) {
            const copy = contiguous(x);
            expect(copy).toMatchObject({ dtype, shape: x.shape, isContiguous: true });
            expect(copy.storage).not.toBe(x.storage);
            expect(await copy.read()).toEqual(await x.read());
          }
        });
        expect(runtime().memory().live).toBe(live);
      }),
      randomCases(60),
    );
  });

  test('takes more elements than a task', async () => {
    await scoped(runtime(), async () => {
      const x = runtime().random([130, 3, 97], { seed: 1 }).permute([2, 0, 1]);
      expect(await contiguous(x).read()).toEqual(await x.read());
      const column = runtime().random([40_000, 1], { seed: 2 }).expand([40_000, 2]);
      expect(await contiguous(column).read()).toEqual(await column.read());
    });
  });

  test('writes into a given tensor and nothing beside it', async () => {
    const { out, check } = guarded(runtime(), [5, 7]);
    using x = runtime().random([7, 5], { seed: 3 });
    using turned = x.permute([1, 0]);
    expect(contiguous(turned, { out })).toBe(out);
    expect(await out.read()).toEqual(await turned.read());
    out.dispose();
    await check();
  });

  test('refuses what it cannot copy, by name', async () => {
    using bytes = runtime().empty([2], 'u8');
    using x = runtime().random([2, 3]);
    using narrow = runtime().empty([3]);
    using half = runtime().empty([2, 3], 'f16');
    using turned = runtime().empty([3, 2]);
    using out = turned.permute([1, 0]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    expect(() => contiguous(bytes)).toThrow(DTypeError);
    await refuse(() => contiguous(bytes), 'x must be f32, f16, bf16, i32, f64, got u8');
    await refuse(() => contiguous(x, { out: narrow }), 'out must have shape [2, 3], got [3]');
    await refuse(() => contiguous(x, { out: half as never }), 'out must be f32, got f16');
    await refuse(() => contiguous(x, { out }), 'out must be contiguous, got strides [1, 2]');
    await refuse(() => contiguous(x, { out: x }), 'out shares memory with x: pass a tensor of its own');
    await refuse(() => contiguous(3 as never), 'x must be a Tensor, got 3');
    await refuse(() => contiguous(x, { axis: 1 } as never), "contiguous has no option 'axis'");
  });
});

/** Elements as numbers. */
const numbersOf = async (x: Tensor) => [...toFloat64(await x.toHost())];

/** One number as an element of each dtype has it. */
const AS: Readonly<Record<string, (value: number) => number>> = {
  i32: (value) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(value) || 0)),
  ...Object.fromEntries(
    (['f32', 'f16', 'bf16'] as const).map((dtype) => [
      dtype,
      (value: number) => toFloat64(convert(hostTensor([Math.fround(value)], [1]), dtype))[0],
    ]),
  ),
};

describeWithMachineCode('cast', (runtime) => {
  test('gives elements of views as another dtype, and back', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, dtypes, dtypes, draws, async (shape, from, to, drawn) => {
        const { live } = runtime().memory();
        await scoped(runtime(), async () => {
          const x = viewOf(numbered(runtime(), shape, from), drawn);
          const { out, check } = guarded(runtime(), x.shape, to);
          expect(cast(x, to, { out })).toBe(out);
          expect(await numbersOf(out)).toEqual((await numbersOf(x)).map(AS[to]!));
          out.dispose();
          await check();
        });
        expect(runtime().memory().live).toBe(live);
      }),
      randomCases(60),
    );
  });

  test('rounds floats to nearest even, cuts them to whole numbers, and saturates', async () => {
    const [largest, least] = [2 ** 31 - 1, -(2 ** 31)];
    const rows: readonly [number, number, number][] = [
      [1.7, 1.7001953125, 1],
      [-1.7, -1.7001953125, -1],
      [-0.9, -0.89990234375, -0],
      [2049, 2048, 2049],
      [2051, 2052, 2051],
      [65519, 65504, 65519],
      [65520, Infinity, 65520],
      [2 ** 31, Infinity, largest],
      [2147483520, Infinity, 2147483520],
      [-(2 ** 31), -Infinity, least],
      [3e38, Infinity, largest],
      [-Infinity, -Infinity, least],
      [Infinity, Infinity, largest],
      [Number.NaN, Number.NaN, 0],
      [6e-8, 2 ** -24, 0],
    ];
    using x = runtime().tensor(
      rows.map(([value]) => value),
      [rows.length],
    );
    using half = cast(x, 'f16');
    using whole = cast(x, 'i32');
    using wholeOfHalf = cast(half, 'i32');
    expect(await numbersOf(half)).toEqual(rows.map(([, value]) => value));
    expect([...(await whole.read())]).toEqual(rows.map(([, , value]) => value + 0));
    expect([...(await wholeOfHalf.read())].slice(0, 8)).toEqual([1, -1, 0, 2048, 2052, 65504, largest, largest]);
    const large = [2 ** 24 + 1, 2 ** 24 + 3, largest, least, -(2 ** 25) - 2];
    using integers = runtime().tensor(Int32Array.from(large), [5]);
    using floats = cast(integers, 'f32');
    using short = cast(integers, 'bf16');
    expect(await numbersOf(floats)).toEqual(large.map(Math.fround));
    expect(await numbersOf(short)).toEqual(large.map(AS.bf16!));
  });

  test('takes more elements than a task, converts no more than once', async () => {
    await scoped(runtime(), async () => {
      const x = runtime().random([130, 3, 97], { seed: 1 }).permute([2, 0, 1]);
      const half = cast(x, 'f16');
      expect(await half.read()).toEqual(convert(hostTensor(await x.read(), x.shape), 'f16').data);
      const wide = cast(half, 'f32');
      expect(await numbersOf(wide)).toEqual(await numbersOf(half));
    });
  });

  test('its gradient is cast back', async () => {
    await scoped(runtime(), async () => {
      for (const [from, to] of [
        ['f32', 'f16'],
        ['bf16', 'f32'],
      ] as const) {
        const x = runtime().random([3, 4], { dtype: from });
        const gradOut = runtime().random([4, 3], { seed: 1, dtype: to });
        const { pull } = pullback((tracked) => cast(tracked.permute([1, 0]), to), x);
        const gradient = pull(gradOut as never) as Tensor;
        expect(gradient.dtype).toBe(from);
        const expected = convert(await gradOut.permute([1, 0]).toHost(), from);
        expect(await gradient.read()).toEqual(expected.data);
      }
    });
  });

  test('refuses what it cannot give, by name', async () => {
    using x = runtime().random([2, 3]);
    using bytes = runtime().empty([2], 'u8');
    using out = runtime().empty([2, 3]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => cast(bytes, 'f32'), 'x must be f32, f16, bf16, i32, f64, got u8');
    await refuse(() => cast(x, 'i8' as never), "dtype must be one of f32, f16, bf16, i32, f64, got 'i8'");
    await refuse(() => cast(x, 'f16', { out: out as never }), 'out must be f16, got f32');
    await refuse(() => cast(x, 'i32', { value: 1 } as never), "cast has no option 'value'");
  });
});

describeWithMachineCode('pad', (runtime) => {
  /** By the definition: an element is one of x where every index is within. */
  async function defined(x: Tensor, widths: readonly (readonly [number, number])[], value: number) {
    const shape = widths.map(([before, after], axis) => before + x.shape[axis]! + after);
    const numbers = await numbersOf(x);
    return Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) => {
      let [rest, place, step, isInside] = [at, 0, 1, true];
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        const index = (rest % shape[axis]!) - widths[axis]![0];
        rest = Math.floor(rest / shape[axis]!);
        isInside &&= index >= 0 && index < x.shape[axis]!;
        place += index * step;
        step *= x.shape[axis]!;
      }
      return isInside ? numbers[place] : value;
    });
  }

  test('puts a value around a hand example', async () => {
    using x = runtime().tensor([1, 2, 3, 4], [2, 2]);
    using padded = pad(x, [
      [1, 0],
      [0, 2],
    ]);
    expect(padded.shape).toEqual([3, 4]);
    expect([...(await padded.read())]).toEqual([0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0, 0]);
    using low = pad(
      x,
      [
        [0, 0],
        [1, 0],
      ],
      { value: -Infinity },
    );
    expect([...(await low.read())]).toEqual([-Infinity, 1, 2, -Infinity, 3, 4]);
  });

  test('agrees with the definition on views of every kind and dtype, and writes nothing beside out', async () => {
    const widths = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 3 })), { minLength: 5, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        shapes,
        dtypes,
        draws,
        widths,
        fc.constantFrom(0, -3),
        async (shape, dtype, drawn, all, value) => {
          const { live } = runtime().memory();
          await scoped(runtime(), async () => {
            const x = viewOf(numbered(runtime(), shape, dtype), drawn);
            const own = all.slice(0, x.rank);
            const padded = own.map(([before, after], axis) => before + x.shape[axis]! + after);
            const { out, check } = guarded<DType>(runtime(), padded, dtype);
            expect(pad(x, own, { value, out })).toBe(out);
            expect(await numbersOf(out)).toEqual(await defined(x, own, value));
            out.dispose();
            await check();
          });
          expect(runtime().memory().live).toBe(live);
        },
      ),
      randomCases(60),
    );
  });

  test('takes more elements than a task, and what it keeps is a slice', async () => {
    await scoped(runtime(), async () => {
      const x = runtime().random([40, 3, 150], { seed: 1 });
      const padded = pad(x, [
        [2, 1],
        [0, 0],
        [31, 100],
      ]);
      const kept = padded.slice(0, 2, 42).slice(2, 31, 181);
      expect(await kept.read()).toEqual(await x.read());
      const [all, own] = [await padded.read(), await x.read()];
      const countOf = (values: Float32Array) => values.filter((value) => value !== 0).length;
      expect(countOf(all)).toBe(countOf(own));
    });
  });

  test('refuses what does not fit, by name', async () => {
    using x = runtime().random([2, 3]);
    using whole = runtime().empty([2], 'i32');
    using bytes = runtime().empty([2], 'u8');
    using out = runtime().empty([2, 3]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    const widths = 'widths must be [before, after], integers >= 0, for each of the 2 axes of x, got';
    await refuse(() => pad(x, [[1, 1]]), `${widths} an array of 1`);
    await refuse(() => pad(x, 1 as never), `${widths} 1`);
    await refuse(
      () =>
        pad(x, [
          [0, 0],
          [-1, 0],
        ]),
      widths,
    );
    await refuse(
      () =>
        pad(x, [
          [0, 0],
          [0.5, 0],
        ]),
      widths,
    );
    await refuse(() => pad(x, [[0, 0], [1] as never]), widths);
    await refuse(() => pad(bytes, [[0, 0]]), 'x must be f32, f16, bf16, i32, got u8');
    await refuse(
      () =>
        pad(
          x,
          [
            [0, 0],
            [0, 0],
          ],
          { value: '0' as never },
        ),
      "value must be a number, got '0'",
    );
    await refuse(
      () => pad(whole, [[0, 1]], { value: 0.5 }),
      'value must be an integer from -2147483648 to 2147483647, got 0.5',
    );
    await refuse(
      () =>
        pad(
          x,
          [
            [1, 0],
            [0, 0],
          ],
          { out },
        ),
      'out must have shape [3, 3], got [2, 3]',
    );
  });
});

describeWithMachineCode('concat', (runtime) => {
  /** One part after the other within each of the leading axes. */
  async function defined(parts: readonly Tensor[], axis: number): Promise<number[]> {
    const rows = await Promise.all(
      parts.map(async (part) => {
        const width = part.shape.slice(axis).reduce((a, b) => a * b, 1);
        return { width, numbers: [...(await part.read())] };
      }),
    );
    const leading = (parts[0] as Tensor).shape.slice(0, axis).reduce((a, b) => a * b, 1);
    return Array.from({ length: leading }, (_, at) =>
      rows.flatMap(({ width, numbers }) => numbers.slice(at * width, (at + 1) * width)),
    ).flat();
  }

  test('agrees with the definition on any shapes, axes and views', async () => {
    const extents = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
    const lengths = fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(
        extents,
        fc.nat(),
        lengths,
        fc.boolean(),
        fc.boolean(),
        async (shape, drawn, along, whole, turns) => {
          const axis = drawn % shape.length;
          const { live } = runtime().memory();
          await scoped(runtime(), async () => {
            const parts = along.map((length) => {
              const own = shape.map((extent, at) => (at === axis ? length : extent));
              if (!turns) return numbered(runtime(), own, whole ? 'i32' : 'f32') as Tensor<'f32'>;
              const axes = [...own.keys()].reverse();
              const turned = numbered(runtime(), [...own].reverse(), whole ? 'i32' : 'f32') as Tensor<'f32'>;
              return turned.permute(axes);
            });
            const all = concat(parts, axis);
            const length = along.reduce((a, b) => a + b, 0);
            expect(all.shape).toEqual(shape.map((extent, at) => (at === axis ? length : extent)));
            expect(all).toMatchObject({ dtype: whole ? 'i32' : 'f32', isContiguous: true });
            expect([...(await all.read())]).toEqual(await defined(parts, axis));
          });
          expect(runtime().memory().live).toBe(live);
        },
      ),
      randomCases(60),
    );
  });

  test('takes one tensor several times, and it may be disposed at once', async () => {
    const x = runtime().tensor([1, 2], [1, 2]);
    using all = concat([x, x, x], 0);
    x.dispose();
    expect([...(await all.read())]).toEqual([1, 2, 1, 2, 1, 2]);
  });

  test('refuses what does not fit, by name', async () => {
    using other = await createRuntime({ backend: 'reference' });
    const foreign = other.empty([2, 3]);
    using x = runtime().empty([2, 3]);
    using flat = runtime().empty([6]);
    using whole = runtime().empty([2, 3], 'i32');
    using half = runtime().empty([2, 3], 'f16');
    using gone = runtime().empty([2, 3]);
    gone.dispose();
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => concat([], 0), 'parts must be an array of at least one tensor, got []');
    await refuse(() => concat([x, 1 as never], 0), 'parts[1] must be a Tensor, got 1');
    await refuse(() => concat([x, foreign], 0), 'parts[1] lives on another runtime than parts[0]');
    await refuse(() => concat([x, gone], 0), 'parts[1]: the tensor of shape [2, 3] was disposed');
    await refuse(() => concat([x], 2), 'axis must be one of the 2 axes of [2, 3], got 2');
    await refuse(() => concat([x], -1), 'axis must be an integer >= 0, got -1');
    await refuse(
      () => concat([x, flat], 0),
      'parts[1] must have the shape of parts[0] [2, 3] but along axis 0, got [6]',
    );
    await refuse(() => concat([x, whole as never], 0), 'parts[1] must be f32 or i32 as parts[0], got i32');
    await refuse(() => concat([half as never], 0), 'parts[0] must be f32 or i32 as parts[0], got f16');
  });
});
