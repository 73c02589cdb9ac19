import fc from 'fast-check';
import { test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { softmax } from '../../index';

const leading = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 0, maxLength: 2 });
const columns = fc.integer({ min: 1, max: 300 });

describeOnBackends('softmax', (runtime) => {
  test('agrees with the definition on any shape', async () => {
    await fc.assert(
      fc.asyncProperty(leading, columns, async (shape, c) => {
        using x = runtime().random([...shape, c], { seed: c });
        const rows = rowsOf(await x.read(), c);
        const whole = guarded(runtime(), [...shape, c]);
        await softmax(x, { out: whole.out });
        expectClose(await whole.out.read(), rows.flatMap(weightsOf), 1e-6);
        whole.out.dispose();
        await whole.check();
      }),
      { numRuns: 40 },
    );
  });

  test('is right for large numbers, one-hot rows and NaN', async () => {
    const values = [3e38, -3e38, 0, 1, 1000, 1000, 1000, 1000, 0, -200, 5, -Infinity, 1, 2, Number.NaN, 3];
    using x = runtime().tensor(values, [4, 4]);
    using out = await softmax(x);
    expectClose(await out.read(), rowsOf(Float32Array.from(values), 4).flatMap(weightsOf), 1e-6);
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 3]);
    using number = runtime().tensor([1], []);
    using swapped = x.permute([1, 0]);
    using empty = runtime().empty([2, 0]);
    await expectRefusal(runtime(), () => softmax(number), 'x must have shape [..., c], got []');
    await expectRefusal(runtime(), () => softmax(swapped), 'x [3, 2] must be contiguous');
    await expectRefusal(runtime(), () => softmax(empty), 'x [2, 0] is empty');
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
