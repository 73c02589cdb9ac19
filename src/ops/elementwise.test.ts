import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../test/expect';
import { add, multiply, relu, tanh } from '../index';

const shapes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 0, maxLength: 4 });
const special = [0, -0, 1e-40, -1e-40, 1e-8, 20, -20, 90, -90, 3e38, -3e38, Infinity, -Infinity, Number.NaN];

describeOnBackends('elementwise', (runtime) => {
  for (const [name, operation, definition, tolerance] of [
    ['relu', relu, (x: number) => Math.max(x, 0), 0],
    ['tanh', tanh, Math.tanh, 5e-7],
  ] as const) {
    test(`${name} agrees with its definition on any shape`, async () => {
      await fc.assert(
        fc.asyncProperty(shapes, async (shape) => {
          using x = runtime().random(shape, { seed: shape.length });
          const { out, check } = guarded(runtime(), shape);
          expect(await operation(x, { out })).toBe(out);
          expectClose(await out.read(), Array.from(await x.read(), definition), tolerance);
          out.dispose();
          await check();
        }),
        { numRuns: 30 },
      );
    });

    test(`${name} is right at zeros, denormals, large numbers, infinities and NaN`, async () => {
      using x = runtime().tensor(special, [special.length]);
      using out = await operation(x);
      expectClose(
        Float64Array.from(await out.read(), (value) => value + 0),
        Array.from(await x.read(), (value) => Math.fround(definition(value)) + 0),
        tolerance,
      );
    });
  }

  test('tanh has a small relative error near zero', async () => {
    const values = Float32Array.from({ length: 4000 }, (_, i) => (i - 2000) / 1000);
    using x = runtime().tensor(values, [values.length]);
    using out = await tanh(x);
    const expected = Array.from(values, Math.tanh);
    expectClose(
      await out.read(),
      expected,
      expected.map((value) => 1e-6 * Math.abs(value)),
    );
  });

  for (const [name, operation, definition] of [
    ['add', add, (a: number, b: number) => a + b],
    ['multiply', multiply, (a: number, b: number) => a * b],
  ] as const) {
    test(`${name} repeats b along the leading axes of a`, async () => {
      await fc.assert(
        fc.asyncProperty(shapes, fc.nat({ max: 4 }), async (shape, skip) => {
          const suffix = shape.slice(skip);
          using a = runtime().random(shape, { seed: 1 });
          using b = runtime().random(suffix, { seed: 2 });
          const { out, check } = guarded(runtime(), shape);
          expect(await operation(a, b, { out })).toBe(out);
          const right = await b.read();
          const expected = Array.from(await a.read(), (value, i) => definition(value, right[i % right.length]!));
          expectClose(await out.read(), expected.map(Math.fround), 0);
          out.dispose();
          await check();
        }),
        { numRuns: 30 },
      );
    });
  }

  test('one tensor may be both inputs', async () => {
    using a = runtime().tensor([1, -2, 3], [3]);
    using sum = await add(a, a);
    using square = await multiply(a, a);
    expect([...(await sum.read())]).toEqual([2, -4, 6]);
    expect([...(await square.read())]).toEqual([1, 4, 9]);
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using a = runtime().random([2, 3]);
    using b = runtime().random([2]);
    using bytes = runtime().tensor(new Uint8Array(3), [3]);
    using swapped = a.permute([1, 0]);
    using empty = runtime().empty([0]);
    const refuse = (call: () => Promise<unknown>, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => add(a, b), 'b must have the shape of a [2, 3] or its last extents, got [2]');
    await refuse(() => multiply(b, a), 'b must have the shape of a [2] or its last extents, got [2, 3]');
    await refuse(() => add(a, bytes), 'b must be f32, got u8');
    await refuse(() => relu(swapped), 'x [3, 2] must be contiguous, got strides [1, 3]');
    await refuse(() => tanh(empty), 'x [0] is empty');
    await refuse(() => relu(a, { out: a }), 'out shares memory with x');
    await refuse(() => add(a, a, { out: b }), 'out must have shape [2, 3], got [2]');
    await refuse(() => tanh(a, { signal: AbortSignal.abort(new Error('stopped')) }), 'stopped');
  });
});
