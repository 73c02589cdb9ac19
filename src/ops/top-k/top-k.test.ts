import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import { argsort, scatterAdd, topK } from '../../index';

const { NaN: nan } = Number;

describeOnBackends('topK', (runtime) => {
  test('takes the first of a hand example, equal ones by place and NaN last', async () => {
    using x = runtime().tensor([3, 1, 3, nan, 0, -0, nan, -Infinity, 2, nan, -0, 0], [2, 6]);
    const largest = topK(x, 4);
    expect(largest.values.shape).toEqual([2, 4]);
    expect(largest.indices).toMatchObject({ shape: [2, 4], dtype: 'i32' });
    expect([...(await largest.indices.read())]).toEqual([0, 2, 1, 4, 2, 4, 5, 1]);
    expect([...(await largest.values.read())]).toEqual([3, 3, 1, 0, 2, -0, 0, -Infinity]);
    const smallest = topK(x, 5, { largest: false });
    expect([...(await smallest.indices.read())]).toEqual([4, 5, 1, 0, 2, 1, 4, 5, 2, 0]);
    expect([...(await smallest.values.read())]).toEqual([0, -0, 1, 3, 3, -Infinity, -0, 0, 2, nan]);
    for (const each of [largest, smallest]) for (const tensor of Object.values(each)) tensor.dispose();
  });

  test('and argsort agree with their definitions on any shape', async () => {
    const leading = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 0, maxLength: 2 });
    const numbers = fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constantFrom(nan, Infinity, -Infinity, -0, 3e38));
    const rows = fc.array(numbers, { minLength: 1, maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(leading, rows, fc.nat(), fc.boolean(), async (shape, drawn, any, descending) => {
        await scoped(runtime(), async () => {
          const c = drawn.length;
          const k = 1 + (any % c);
          const all = Array.from(
            { length: shape.reduce((a, b) => a * b, c) },
            (_, i) => drawn[(i * ((any % 7) | 1)) % c]!,
          );
          const x = runtime().tensor(all, [...shape, c]);
          const places = rowsOf(all, c).map((row) => defined(row, descending));
          const { values, indices } = topK(x, k, { largest: descending });
          expect([...(await indices.read())]).toEqual(places.flatMap((row) => row.slice(0, k)));
          const first = places.flatMap((row, r) => row.slice(0, k).map((place) => Math.fround(all[r * c + place]!)));
          expect([...(await values.read())]).toEqual(first);
          const { out, check } = guarded(runtime(), [...shape, c], 'i32');
          expect(argsort(x, { descending, out })).toBe(out);
          expect([...(await out.read())]).toEqual(places.flat());
          out.dispose();
          await check();
        });
      }),
      randomCases(40),
    );
  });

  test.each([1024, 1025, 3000, 9001])('takes rows of %i, few and many of them', async (c) => {
    await scoped(runtime(), async () => {
      const x = runtime().random([3, c], { seed: c });
      const all = await x.read();
      for (const descending of [true, false]) {
        const places = rowsOf(all, c).map((row) => defined(row, descending));
        for (const k of [1, 7, 64, 65, 1000]) {
          const { values, indices } = topK(x, k, { largest: descending });
          const expected = places.map((row) => row.slice(0, k));
          expect([...(await indices.read())]).toEqual(expected.flat());
          expect([...(await values.read())]).toEqual(expected.flatMap((row, r) => row.map((at) => all[r * c + at])));
        }
        expect([...(await argsort(x, { descending }).read())]).toEqual(places.flat());
      }
    });
  });

  test('takes rows that are in order, the other way round, and all alike', async () => {
    const c = 2500;
    const rows = [
      Array.from({ length: c }, (_, i) => i - 1000),
      Array.from({ length: c }, (_, i) => 1000 - i),
      new Array<number>(c).fill(-3),
      new Array<number>(c).fill(nan),
      // Differences in the last bits, and denormals, which some GPUs take for 0 where they compute.
      Array.from({ length: c }, (_, i) => (((i * 7919) % c) - 1250) * 2 ** -149),
    ];
    await scoped(runtime(), async () => {
      const x = runtime().tensor(rows.flat(), [rows.length, c]);
      for (const k of [5, 100]) {
        const { indices } = topK(x, k);
        expect([...(await indices.read())]).toEqual(rows.flatMap((row) => defined(row, true).slice(0, k)));
      }
      expect([...(await argsort(x).read())]).toEqual(rows.flatMap((row) => defined(row, false)));
    });
  });

  test('has the gradient of scatterAdd', async () => {
    const [rows, c, k] = [3, 7, 4];
    await scoped(runtime(), async () => {
      const x = runtime().random([rows, c], { seed: 1 });
      const gradValues = runtime().random([rows, k], { seed: 2 });
      for (const largest of [true, false]) {
        const places = (await topK(x, k, { largest }).indices.read()).map((at, i) => Math.floor(i / k) * c + at);
        const grad = scatterAdd(gradValues.reshape([rows * k, 1]), runtime().tensor(places, [rows * k]), rows * c);
        const taken = (numbers: Float64Array) =>
          rowsOf(numbers, c).flatMap((row) =>
            defined(row, largest)
              .slice(0, k)
              .map((at) => row[at]!),
          );
        expectClose(await grad.read(), numericGradient(taken, await x.read(), await gradValues.read()), 1e-6);
      }
    });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 3]);
    using number = runtime().tensor([1], []);
    using swapped = x.permute([1, 0]);
    using empty = runtime().empty([0, 3]);
    using whole = runtime().empty([2, 3], 'i32');
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => topK(x, 0), 'k must be an integer from 1 to 3, got 0');
    await refuse(() => topK(x, 4), 'k must be an integer from 1 to 3, got 4');
    await refuse(() => topK(x, 1.5), 'k must be an integer from 1 to 3, got 1.5');
    await refuse(() => topK(number, 1), 'x must have shape [..., c], got []');
    await refuse(() => topK(swapped, 1), 'x [3, 2] must be contiguous, got strides [1, 3]');
    await refuse(() => topK(x, 1, { largest: 1 as never }), 'largest must be true or false, got 1');
    await refuse(() => topK(x, 1, { out: x } as never), "topK has no option 'out'");
    await refuse(() => argsort(empty), 'x [0, 3] is empty');
    await refuse(() => argsort(whole), 'x must be f32, got i32');
    await refuse(() => argsort(x, { out: x as never }), 'out must be i32, got f32');
    await refuse(() => argsort(x, { descending: 'no' as never }), "descending must be true or false, got 'no'");
  });
});

/** The places of a row in order, equal ones by place and NaN last. */
function defined(row: readonly number[], descending: boolean): number[] {
  const places = [...row.keys()];
  const sign = descending ? -1 : 1;
  const numbers = places.filter((at) => !Number.isNaN(row[at]));
  numbers.sort((a, b) => sign * (row[a]! - row[b]!) || a - b);
  return [...numbers, ...places.filter((at) => Number.isNaN(row[at]))];
}

const rowsOf = (x: ArrayLike<number>, c: number): number[][] =>
  Array.from({ length: x.length / c }, (_, r) => Array.from(x).slice(r * c, (r + 1) * c));
