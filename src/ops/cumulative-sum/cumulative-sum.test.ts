import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { cumulativeSum } from '../../index';

const leading = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 0, maxLength: 2 });

describeOnBackends('cumulativeSum', (runtime) => {
  test('sums up to each element, or from it on', async () => {
    using x = runtime().tensor([1, 2, 3, 4, 5, 6, -1, 0, 1, 0, 0.5, 2], [2, 1, 6]);
    using forward = cumulativeSum(x);
    using backward = cumulativeSum(x, { reverse: true });
    expect(forward.shape).toEqual([2, 1, 6]);
    expect([...(await forward.read())]).toEqual([1, 3, 6, 10, 15, 21, -1, -1, 0, 0, 0.5, 2.5]);
    expect([...(await backward.read())]).toEqual([21, 20, 18, 15, 11, 6, 2.5, 3.5, 3.5, 2.5, 2.5, 2]);
  });

  test('agrees with the definition on any shape', async () => {
    await fc.assert(
      fc.asyncProperty(leading, fc.integer({ min: 1, max: 1100 }), fc.boolean(), async (shape, c, reverse) => {
        using x = runtime().random([...shape, c], { seed: c });
        const { out, check } = guarded(runtime(), x.shape);
        expect(cumulativeSum(x, { out, reverse })).toBe(out);
        expectSums(await out.read(), await x.read(), c, reverse);
        out.dispose();
        await check();
      }),
      randomCases(30),
    );
  });

  test.each([false, true])('errors stay small along long rows, reverse: %s', async (reverse) => {
    const [rows, c] = [3, 100_001];
    const values = Float32Array.from({ length: rows * c }, (_, at) => 0.1 + (at % 7));
    using x = runtime().tensor(values, [rows, c]);
    using out = cumulativeSum(x, { reverse });
    expectSums(await out.read(), values, c, reverse);
  });

  test('many rows are summed each on its own', async () => {
    using x = runtime().random([700, 37], { seed: 1 });
    using out = cumulativeSum(x);
    expectSums(await out.read(), await x.read(), 37, false);
  });

  test('infinities and NaN take their course from where they are', async () => {
    using x = runtime().tensor([1, 2, 3, Infinity, 1, 1, -Infinity, 1, 1, 2, Number.NaN, 4, 5, 6, 7, 8], [2, 8]);
    using forward = cumulativeSum(x);
    using backward = cumulativeSum(x, { reverse: true });
    const [NAN, INF] = [Number.NaN, Infinity];
    const up = [1, 3, 6, INF, INF, INF, NAN, NAN, 1, 3, NAN, NAN, NAN, NAN, NAN, NAN];
    const down = [NAN, NAN, NAN, NAN, -INF, -INF, -INF, 1, NAN, NAN, NAN, 30, 26, 21, 15, 8];
    expect([...(await forward.read())]).toEqual(up);
    expect([...(await backward.read())]).toEqual(down);
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 3]);
    using number = runtime().tensor([1], []);
    using swapped = x.permute([1, 0]);
    using empty = runtime().empty([2, 0]);
    using integers = runtime().tensor(new Int32Array(4), [4]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => cumulativeSum(number), 'x must have shape [..., c], got []');
    await refuse(() => cumulativeSum(swapped), 'x [3, 2] must be contiguous, got strides [1, 3]');
    await refuse(() => cumulativeSum(empty), 'x [2, 0] is empty');
    await refuse(() => cumulativeSum(integers), 'x must be f32, got i32');
    await refuse(() => cumulativeSum(x, { out: x }), 'out shares memory with x');
    await refuse(() => cumulativeSum(x, { out: number as never }), 'out must have shape [2, 3], got []');
    await refuse(() => cumulativeSum(x, { reverse: 1 as never }), 'reverse must be true or false, got 1');
    await refuse(() => cumulativeSum(x, { axis: 0 } as never), "cumulativeSum has no option 'axis'");
  });
});

/** Errors are measured by the sums of magnitudes. */
function expectSums(got: Float32Array, values: Float32Array, c: number, reverse: boolean): void {
  const expected = new Float64Array(values.length);
  const allowed = new Float64Array(values.length);
  for (let first = 0; first < values.length; first += c) {
    let [sum, magnitudes] = [0, 0];
    for (let at = 0; at < c; at++) {
      const place = first + (reverse ? c - 1 - at : at);
      sum += values[place] as number;
      magnitudes += Math.abs(values[place] as number);
      expected[place] = sum;
      allowed[place] = 1e-6 * magnitudes;
    }
  }
  expectClose(got, expected, allowed);
}
