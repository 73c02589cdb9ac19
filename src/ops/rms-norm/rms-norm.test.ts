import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { show } from '../../check';
import { rmsNorm, rmsNormBackward } from '../../index';

const leading = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 0, maxLength: 1 });
const settings = fc.record(
  { epsilon: fc.constantFrom(0, 1e-6, 0.5), offset: fc.constantFrom(1e-8, 0.25) },
  { requiredKeys: [] },
);

describeOnBackends('rmsNorm', (runtime) => {
  test('normalises a hand example', async () => {
    using x = runtime().tensor([3, 4, 0, 0, 0, -2], [3, 2]);
    using out = await rmsNorm(x, { epsilon: 0 });
    expectClose(await out.read(), [0.6 * Math.SQRT2, 0.8 * Math.SQRT2, 0, 0, 0, -Math.SQRT2], 1e-6);
  });

  test('and its gradient agree with the definition on any shape', async () => {
    await fc.assert(
      fc.asyncProperty(leading, fc.integer({ min: 1, max: 20 }), settings, async (shape, c, options) => {
        using x = runtime().random([...shape, c], { seed: c });
        using gradOut = runtime().random([...shape, c], { seed: c + 1 });
        const [values, weights] = [await x.read(), await gradOut.read()];
        const definition = (numbers: ArrayLike<number>) => normalised(numbers, c, options);
        const { out, check } = guarded(runtime(), [...shape, c]);
        expect(await rmsNorm(x, { ...options, out })).toBe(out);
        expectClose(await out.read(), definition(values), 2e-6);
        await rmsNormBackward(x, gradOut, { ...options, out });
        const expected = numericGradient(definition, values, weights);
        expectClose(
          await out.read(),
          expected,
          expected.map((value) => 3e-5 * Math.max(1, Math.abs(value))),
        );
        out.dispose();
        await check();
      }),
      { numRuns: 30 },
    );
  });

  test('does not see the scale of a row, and its gradient is orthogonal to the row', async () => {
    using x = runtime().random([5, 33], { seed: 1 });
    using gradOut = runtime().random([5, 33], { seed: 2 });
    using larger = runtime().tensor(
      (await x.read()).map((value) => 1024 * value),
      x.shape,
    );
    using out = await rmsNorm(x, { epsilon: 0 });
    using same = await rmsNorm(larger, { epsilon: 0 });
    expectClose(await same.read(), await out.read(), 1e-6);
    using grad = await rmsNormBackward(x, gradOut, { epsilon: 0 });
    const [values, grads] = [await x.read(), await grad.read()];
    for (let r = 0; r < 5; r++) {
      let sum = 0;
      for (let c = 0; c < 33; c++) sum += values[r * 33 + c]! * grads[r * 33 + c]!;
      expect(Math.abs(sum)).toBeLessThan(1e-4);
    }
  });

  test('a row of zeros stays one, with a finite gradient', async () => {
    using x = runtime().tensor(new Float32Array(6), [1, 6]);
    using gradOut = runtime().random([1, 6]);
    for (const options of [{ epsilon: 0 }, { epsilon: 0, offset: 1e-8 }]) {
      using out = await rmsNorm(x, options);
      using grad = await rmsNormBackward(x, gradOut, options);
      expect([...(await out.read())]).toEqual(new Array(6).fill(0));
      expect([...(await grad.read())].every(Number.isFinite)).toBe(true);
    }
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 4]);
    using y = runtime().random([4, 2]);
    using swapped = x.permute([1, 0]);
    using single = runtime().random([]);
    using integers = runtime().tensor(new Int32Array(4), [4]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => rmsNorm(single), 'x must have shape [..., c], got []');
    await refuse(() => rmsNorm(integers), 'x must be f32, got i32');
    await refuse(() => rmsNorm(swapped), 'x [4, 2] must be contiguous, got strides [1, 4]');
    await refuse(() => rmsNormBackward(x, y), 'gradOut must have the shape of x [2, 4], got [4, 2]');
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY, '1' as unknown as number]) {
      await refuse(() => rmsNorm(x, { epsilon: value }), `epsilon must be a finite number >= 0, got ${show(value)}`);
      await refuse(() => rmsNorm(x, { offset: value }), `offset must be a finite number >= 0, got ${show(value)}`);
    }
  });
});

function normalised(x: ArrayLike<number>, c: number, options: { epsilon?: number; offset?: number }): number[] {
  const { epsilon = 1e-6, offset = 0 } = options;
  return Array.from({ length: x.length / c }, (_, r) => {
    const row = Array.from(x).slice(r * c, (r + 1) * c);
    const squares = row.reduce((sum, value) => sum + value ** 2, 0);
    return row.map((value) => value / (Math.sqrt(squares / c + epsilon) + offset));
  }).flat();
}
