import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectRefusal, guarded } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { concat, contiguous, createRuntime, DTypeError, hostTensor, type Runtime, type Tensor } from '../../index';

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

describeOnBackends('contiguous', (runtime) => {
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
      { numRuns: 60 },
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
    await refuse(() => contiguous(bytes), 'x must be f32, f16, bf16, i32, got u8');
    await refuse(() => contiguous(x, { out: narrow }), 'out must have shape [2, 3], got [3]');
    await refuse(() => contiguous(x, { out: half as never }), 'out must be f32, got f16');
    await refuse(() => contiguous(x, { out }), 'out must be contiguous, got strides [1, 2]');
    await refuse(() => contiguous(x, { out: x }), 'out shares memory with x: pass a tensor of its own');
    await refuse(() => contiguous(3 as never), 'x must be a Tensor, got 3');
    await refuse(() => contiguous(x, { axis: 1 } as never), "contiguous has no option 'axis'");
  });
});

describeOnBackends('concat', (runtime) => {
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
      { numRuns: 60 },
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
    await refuse(() => concat([x], -1), 'axis must be one of the 2 axes of [2, 3], got -1');
    await refuse(
      () => concat([x, flat], 0),
      'parts[1] must have the shape of parts[0] [2, 3] but along axis 0, got [6]',
    );
    await refuse(() => concat([x, whole as never], 0), 'parts[1] must be f32 or i32 as parts[0], got i32');
    await refuse(() => concat([half as never], 0), 'parts[0] must be f32 or i32 as parts[0], got f16');
  });
});
