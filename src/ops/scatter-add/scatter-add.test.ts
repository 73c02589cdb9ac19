import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import { createRuntime, gather, scatterAdd } from '../../index';

describeOnBackends('scatterAdd', (runtime) => {
  test('adds the rows of a hand example, zeros where there is none', async () => {
    using values = runtime().tensor([1, 2, 10, 20, 100, 200, 1000, 2000], [2, 2, 2]);
    using indices = runtime().tensor(new Int32Array([2, 0, 2, 3]), [2, 2]);
    using out = scatterAdd(values, indices, 5);
    expect(out.shape).toEqual([5, 2]);
    expect([...(await out.read())]).toEqual([10, 20, 0, 0, 101, 202, 1000, 2000, 0, 0]);
  });

  test('agrees with the definition on any shape', async () => {
    const list = fc.array(fc.nat({ max: 1000 }), { minLength: 1, maxLength: 50 });
    const extents = [fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 150 })] as const;
    await fc.assert(
      fc.asyncProperty(...extents, list, async (rows, c, numbers) => {
        const places = numbers.map((number) => number % rows);
        using values = runtime().random([places.length, c], { seed: 1 });
        using indices = runtime().tensor(Int32Array.from(places), [places.length]);
        const { out, check } = guarded(runtime(), [rows, c]);
        expect(scatterAdd(values, indices, rows, { out })).toBe(out);
        expectClose(await out.read(), defined(await values.read(), places, rows, c), 1e-5);
        out.dispose();
        await check();
      }),
      randomCases(40),
    );
  });

  test('adds many rows to few, and few to many, with the same bits each time', async () => {
    for (const [count, rows, c] of [
      [2500, 3, 5],
      [700, 1, 1],
      [50, 9000, 40],
      [700, 2000, 2],
      [600, 40, 1100],
    ] as const) {
      await scoped(runtime(), async () => {
        const places = Array.from({ length: count }, (_, i) => (i * i * 7 + i) % rows);
        const values = runtime().random([count, c], { seed: 2 });
        const indices = runtime().tensor(Int32Array.from(places), [count]);
        const sums = await scatterAdd(values, indices, rows).read();
        expectClose(sums, defined(await values.read(), places, rows, c), 2e-4);
        expect(await scatterAdd(values, indices, rows).read()).toEqual(sums);
      });
    }
  });

  test('hands on infinities, NaN and denormals to their rows alone', async () => {
    const numbers = [Infinity, 1, -Infinity, Infinity, -Infinity, Number.NaN, 1, 2];
    using values = runtime().tensor(numbers, [8, 1]);
    using indices = runtime().tensor(new Int32Array([0, 0, 1, 2, 2, 3, 3, 4]), [8]);
    using out = scatterAdd(values, indices, 6);
    expect([...(await out.read())]).toEqual([Infinity, -Infinity, Number.NaN, Number.NaN, 2, 0]);
    using tiny = runtime().tensor([1e-40, 1e-40], [2, 1]);
    using both = runtime().tensor(new Int32Array(2), [2]);
    using sum = scatterAdd(tiny, both, 1);
    // Some GPUs take denormals for 0.
    expectClose(await sum.read(), [2e-40], 2.1e-40);
  });

  test('is the gradient of gather with respect to its table, and gather is its own', async () => {
    const places = [3, 0, 3, 1, 3, 0];
    const [rows, c] = [5, 3];
    using table = runtime().random([rows, c], { seed: 1 });
    using values = runtime().random([places.length, c], { seed: 2 });
    using indices = runtime().tensor(Int32Array.from(places), [places.length]);
    using gradPicked = runtime().random([places.length, c], { seed: 3 });
    using gradSums = runtime().random([rows, c], { seed: 4 });
    using gradTable = scatterAdd(gradPicked, indices, rows);
    using gradValues = gather(gradSums, indices);
    const picked = (x: Float64Array) => places.flatMap((row) => [...x.subarray(row * c, (row + 1) * c)]);
    const summed = (x: Float64Array) => defined(x, places, rows, c);
    const numeric = async (f: typeof summed | typeof picked, x: typeof table, weights: typeof table) =>
      numericGradient(f, await x.read(), await weights.read(), 0.5);
    expectClose(await gradTable.read(), await numeric(picked, table, gradPicked), 1e-5);
    expectClose(await gradValues.read(), await numeric(summed, values, gradSums), 1e-5);
  });

  test('names the index that is outside', async () => {
    using values = runtime().random([2, 2]);
    using above = runtime().tensor(new Int32Array([0, 3]), [2]);
    using below = runtime().tensor(new Int32Array([-1, 0]), [2]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => scatterAdd(values, above, 3), 'indices must be from 0 to 2, got 3 at element 1 of indices');
    await refuse(() => scatterAdd(values, below, 3), 'indices must be from 0 to 2, got -1 at element 0 of indices');
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using other = await createRuntime({ backend: 'reference' });
    using values = runtime().random([2, 3, 4]);
    using number = runtime().tensor([1], []);
    using swapped = values.permute([1, 0, 2]);
    using indices = runtime().tensor(new Int32Array(6), [2, 3]);
    using flat = indices.reshape([6]);
    using none = runtime().empty([0, 4]);
    using nowhere = runtime().empty([0], 'i32');
    using out = runtime().empty([2, 4]);
    const foreign = other.tensor(new Int32Array(6), [2, 3]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => scatterAdd(number, indices, 3), 'values must have shape [..., c], got []');
    await refuse(() => scatterAdd(indices, indices, 3), 'values must be f32, got i32');
    await refuse(() => scatterAdd(swapped, indices, 3), 'values [3, 2, 4] must be contiguous');
    await refuse(() => scatterAdd(none, nowhere, 3), 'values [0, 4] is empty');
    await refuse(() => scatterAdd(values, values, 3), 'indices must be i32, got f32');
    await refuse(
      () => scatterAdd(values, flat, 3),
      'indices must have shape [2, 3] with the leading axes of values [2, 3, 4], got [6]',
    );
    await refuse(() => scatterAdd(values, foreign, 3), 'indices lives on another runtime than values');
    await refuse(() => scatterAdd(values, indices, 0), 'rows must be an integer from 1 to 2147483647, got 0');
    await refuse(() => scatterAdd(values, indices, 3, { out }), 'out must have shape [3, 4], got [2, 4]');
  });
});

test('adds in the order of the indices on any number of threads', async () => {
  const [count, rows, c] = [600, 40, 1100];
  const places = Int32Array.from({ length: count }, (_, i) => (i * i * 7 + i) % rows);
  for (const threads of [1, 2, 3]) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    const values = runtime.random([count, c], { seed: 2 });
    const all = await values.read();
    const sums = new Float32Array(rows * c);
    places.forEach((row, i) => {
      for (let at = 0; at < c; at++) sums[row * c + at]! += all[i * c + at]!;
    });
    expect(await scatterAdd(values, runtime.tensor(places, [count]), rows).read()).toEqual(sums);
  }
});

function defined(values: ArrayLike<number>, places: readonly number[], rows: number, c: number): Float64Array {
  const sums = new Float64Array(rows * c);
  places.forEach((row, i) => {
    for (let at = 0; at < c; at++) sums[row * c + at]! += values[i * c + at]!;
  });
  return sums;
}
