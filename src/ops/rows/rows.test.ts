import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { maxRows, softmax, sumRows } from '../../index';

const leading = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 0, maxLength: 2 });
const columns = fc.integer({ min: 1, max: 300 });

describeOnBackends('functions of rows', (runtime) => {
  test('agree with their definitions on any shape', async () => {
    await fc.assert(
      fc.asyncProperty(leading, columns, async (shape, c) => {
        using x = runtime().random([...shape, c], { seed: c });
        const rows = rowsOf(await x.read(), c);
        const whole = guarded(runtime(), [...shape, c]);
        await softmax(x, { out: whole.out });
        expectClose(await whole.out.read(), rows.flatMap(weightsOf), 1e-6);
        const one = guarded(runtime(), [...shape, 1]);
        await sumRows(x, { out: one.out });
        expectClose(await one.out.read(), rows.map(sum), 1e-4);
        expect(await maxRows(x, { out: one.out })).toBe(one.out);
        expectClose(
          await one.out.read(),
          rows.map((row) => Math.max(...row)),
          0,
        );
        for (const { out, check } of [whole, one]) {
          out.dispose();
          await check();
        }
      }),
      { numRuns: 40 },
    );
  });

  test('softmax is right for large numbers, one-hot rows and NaN', async () => {
    const values = [3e38, -3e38, 0, 1, 1000, 1000, 1000, 1000, 0, -200, 5, -Infinity, 1, 2, Number.NaN, 3];
    using x = runtime().tensor(values, [4, 4]);
    using out = await softmax(x);
    expectClose(await out.read(), rowsOf(Float32Array.from(values), 4).flatMap(weightsOf), 1e-6);
  });

  test('maxRows hands on NaN and infinities', async () => {
    using x = runtime().tensor([1, Number.NaN, 2, -Infinity, -Infinity, -Infinity, 1, Infinity, 0], [3, 3]);
    using out = await maxRows(x);
    expect([...(await out.read())]).toEqual([Number.NaN, -Infinity, Infinity]);
  });

  test('refuse what does not fit, by name, and free everything', async () => {
    using x = runtime().random([2, 3]);
    using number = runtime().tensor([1], []);
    using swapped = x.permute([1, 0]);
    using empty = runtime().empty([2, 0]);
    await expectRefusal(runtime(), () => softmax(number), 'x must have shape [..., c], got []');
    await expectRefusal(runtime(), () => sumRows(swapped), 'x [3, 2] must be contiguous');
    await expectRefusal(runtime(), () => maxRows(empty), 'x [2, 0] is empty');
    await expectRefusal(runtime(), () => softmax(x, { out: x }), 'out shares memory with x');
  });
});

function rowsOf(values: Float32Array, c: number): number[][] {
  return Array.from({ length: values.length / c }, (_, r) => [...values.subarray(r * c, (r + 1) * c)]);
}

const sum = (row: readonly number[]) => row.reduce((a, b) => a + b, 0);

function weightsOf(row: readonly number[]): number[] {
  const largest = Math.max(...row);
  const weights = row.map((value) => Math.exp(value - largest));
  return weights.map((weight) => weight / sum(weights));
}
