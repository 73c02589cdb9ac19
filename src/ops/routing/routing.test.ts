import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { focus, focusBackward, route, routeBackward } from '../../index';

const leading = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 0, maxLength: 1 });
const closeTo = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) =>
  expectClose(
    actual,
    expected,
    Array.from(expected, (value) => tolerance * Math.max(1, Math.abs(value))),
  );

describeOnBackends('route', (runtime) => {
  test('takes the largest, the first of equal ones', async () => {
    using logits = runtime().tensor([1, 3, 2, 5, 5, 4, -1, -2, -1], [3, 3]);
    using bank = runtime().tensor([10, 20, 30], [3]);
    using out = await route(logits, bank);
    expect(out.shape).toEqual([3, 1]);
    expect([...(await out.read())]).toEqual([20, 10, 10]);
  });

  test('has the gradient of the softmax by the logits and of the choice by the bank', async () => {
    await fc.assert(
      fc.asyncProperty(leading, fc.integer({ min: 1, max: 9 }), async (shape, u) => {
        using logits = runtime().random([...shape, u], { seed: u });
        using bank = runtime().random([u], { seed: 2 });
        using gradOut = runtime().random([...shape, 1], { seed: 3 });
        const [scores, entries, weights] = await Promise.all([logits, bank, gradOut].map((x) => x.read()));
        const grads = await routeBackward(logits, bank, gradOut);
        using gradLogits = grads.gradLogits;
        using gradBank = grads.gradBank;
        const soft = (x: Float64Array) => rowsOf(x, u).map((row) => meanUnderSoftmax(row, entries!));
        closeTo(await gradLogits.read(), numericGradient(soft, scores!, weights!), 1e-5);
        for (const row of rowsOf(await gradLogits.read(), u)) {
          expect(Math.abs(row.reduce((a, b) => a + b))).toBeLessThan(1e-5);
        }
        const sums = new Array<number>(u).fill(0);
        rowsOf(scores!, u).forEach((row, r) => {
          sums[row.indexOf(Math.max(...row))]! += weights![r]!;
        });
        closeTo(await gradBank.read(), sums, 1e-5);
      }),
      { numRuns: 30 },
    );
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using logits = runtime().random([2, 3]);
    using bank = runtime().random([2]);
    using three = runtime().random([3]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => route(logits, bank), 'bank must have shape [u] with u = 3 as in logits [2, 3], got [2]');
    await refuse(() => route(logits, logits), 'bank must have shape [u] with u = 3 as in logits [2, 3], got [2, 3]');
    await refuse(() => routeBackward(logits, three, three), 'gradOut must have shape [2, 1], got [3]');
  });
});

describeOnBackends('focus', (runtime) => {
  const focusOf = async (x: number[], exponent: number) => {
    using rows = runtime().tensor(x, [1, x.length]);
    using exponents = runtime().tensor([exponent], [1, 1]);
    using out = await focus(rows, exponents);
    return out.read();
  };

  test.each([
    [1, [3, 4]],
    [2, [2.451, 4.358]],
    [3, [1.943, 4.607]],
  ])('of (3, 4) by %i is as worked out by hand', async (exponent, expected) => {
    expectClose(await focusOf([3, 4], exponent), expected, 1e-3);
  });

  test('keeps the length, and what is positive alone; scales with its input', async () => {
    expectClose(await focusOf([-1, 2.5, -3], 7), [0, 2.5, 0], 1e-6);
    expectClose(await focusOf([-1, -2], 3), [0, 0], 0);
    expectClose(
      await focusOf([1e-30, 2e-30], 2),
      (await focusOf([1, 2], 2)).map((x) => x * 1e-30),
      1e-36,
    );
    expectClose(
      await focusOf([1e30, 2e30], 2),
      (await focusOf([1, 2], 2)).map((x) => x * 1e30),
      1e24,
    );
    expectClose(await focusOf([1, 1.5, 2], 200), [0, 0, Math.hypot(1, 1.5, 2)], 1e-6);
    expectClose(await focusOf([1, -1, 2], 0.3), [1, 0, 2], 1e-6);
  });

  test('and its gradients agree with the definition', async () => {
    await fc.assert(
      fc.asyncProperty(leading, fc.integer({ min: 1, max: 13 }), async (shape, d) => {
        using x = runtime().random([...shape, d], { seed: d });
        using exponents = runtime().random([...shape, 1], { seed: 2 });
        const powers = (await exponents.read()).map((value) => 1.2 + 3 * Math.abs(value));
        using positive = runtime().tensor(powers, exponents.shape);
        using gradOut = runtime().random([...shape, d], { seed: 3 });
        const [values, weights] = [await x.read(), await gradOut.read()];
        const { out, check } = guarded(runtime(), [...shape, d]);
        expect(await focus(x, positive, { out })).toBe(out);
        closeTo(await out.read(), defined(values, powers), 3e-6);
        out.dispose();
        await check();
        const grads = await focusBackward(x, positive, gradOut);
        using gradX = grads.gradX;
        using gradExponents = grads.gradExponents;
        const byX = numericGradient((y) => defined(y, powers), values, weights);
        closeTo(await gradX.read(), byX, 5e-5);
        const byExponents = numericGradient((y) => defined(values, y), powers, weights);
        closeTo(await gradExponents.read(), byExponents, 5e-5);
      }),
      { numRuns: 30 },
    );
  });

  test('exponents below 1 count as 1 and have no gradient', async () => {
    using x = runtime().random([3, 5]);
    using exponents = runtime().tensor([0.5, -2, 1], [3, 1]);
    const { gradX, gradExponents } = await focusBackward(x, exponents, x);
    expect([...(await gradExponents.read()).subarray(0, 2)]).toEqual([0, 0]);
    expectClose(
      await gradX.read(),
      (await x.read()).map((value) => Math.max(0, value)),
      1e-5,
    );
    gradX.dispose();
    gradExponents.dispose();
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 3]);
    using exponents = runtime().random([2, 1]);
    using flat = runtime().random([2]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => focus(x, flat), 'exponents must have shape [2, 1], got [2]');
    await refuse(() => focusBackward(x, exponents, exponents), 'gradOut must have shape [2, 3], got [2, 1]');
  });
});

function rowsOf(x: ArrayLike<number>, c: number): number[][] {
  return Array.from({ length: x.length / c }, (_, r) => Array.from(x).slice(r * c, (r + 1) * c));
}

function meanUnderSoftmax(logits: readonly number[], bank: ArrayLike<number>): number {
  const weights = logits.map(Math.exp);
  const sum = weights.reduce((a, b) => a + b);
  return weights.reduce((mean, weight, u) => mean + (weight / sum) * bank[u]!, 0);
}

function defined(x: ArrayLike<number>, exponents: ArrayLike<number>): number[] {
  return rowsOf(x, x.length / exponents.length).flatMap((row, r) => {
    const positive = row.map((value) => Math.max(0, value));
    const powers = positive.map((value) => value ** exponents[r]!);
    const length = Math.hypot(...powers);
    return powers.map((value) => (length === 0 ? 0 : (value / length) * Math.hypot(...positive)));
  });
}
