import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import { focus, focusBackward, pullback, route, type Tensor } from '../../index';

type Extent = fc.Arbitrary<number>;
const leading = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 0, maxLength: 1 });
const closeTo = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) =>
  expectClose(
    actual,
    expected,
    Array.from(expected, (value) => tolerance * Math.max(1, Math.abs(value))),
  );

describeOnBackends('route', (runtime) => {
  test('takes the largest, the first of equal ones', async () => {
    using x = runtime().tensor([1, 3, 2, 5, 5, 4, -1, -2, -1, Number.NaN, 1, 2, 0, Number.NaN, -1], [5, 3]);
    using router = runtime().tensor([1, 0, 0, 0, 1, 0, 0, 0, 1], [3, 3]);
    using bank = runtime().tensor([10, 20, 30], [3]);
    using out = route(x, router, bank);
    expect(out.shape).toEqual([5, 1]);
    // NaN in one product of a row is NaN in all.
    expect([...(await out.read())]).toEqual([20, 10, 10, 10, 10]);
  });

  test('and its gradients agree with the definition, straight through, of one tensor or two side by side', async () => {
    await fc.assert(
      fc.asyncProperty(
        leading,
        ...([9, 40, 20].map((max) => fc.integer({ min: 1, max })) as [Extent, Extent, Extent]),
        fc.boolean(),
        async (shape, u, c, e, isPair) => {
          await scoped(runtime(), async () => {
            const random = (extents: readonly number[], seed: number) => runtime().random(extents, { seed });
            const parts = [random([...shape, c], 1), ...(isPair ? [random([...shape, e], 2)] : [])];
            const [router, bank] = [random([isPair ? c + e : c, u], 3), random([u], 4)];
            const gradOut = random([...shape, 1], 5);
            const { out, check } = guarded(runtime(), [...shape, 1]);
            const x = (isPair ? parts : parts[0]) as Tensor;
            expect(route(x, router, bank, { out })).toBe(out);
            const [left, right, scores, entries, weights] = await Promise.all(
              [parts[0]!, parts[1], router, bank, gradOut].map(async (y) => Array.from(y ? await y.read() : [])),
            );
            const rows = (a: ArrayLike<number>, b: ArrayLike<number>) =>
              rowsOf(a, c).map((row, r) => [...row, ...(rowsOf(b, e)[r] ?? [])]);
            const logits = (rows: number[][], matrix: ArrayLike<number>) =>
              rows.map((row) =>
                Array.from({ length: u }, (_, j) => row.reduce((sum, y, i) => sum + y * matrix[i * u + j]!, 0)),
              );
            const choices = logits(rows(left!, right!), scores!).map((row) => row.indexOf(Math.max(...row)));
            closeTo(
              await out.read(),
              choices.map((choice) => entries![choice]!),
              1e-6,
            );
            await check();
            const { pull } = pullback((t) => route(t.x, t.router, t.bank), { x, router, bank });
            const grads = pull(gradOut);
            const [gradX, gradY] = (isPair ? grads.x : [grads.x]) as unknown as [Tensor, Tensor?];
            const soft = (a: ArrayLike<number>, b: ArrayLike<number>, matrix: ArrayLike<number>) =>
              logits(rows(a, b), matrix).map((row) => meanUnderSoftmax(row, entries!));
            closeTo(
              await gradX.read(),
              numericGradient((y) => soft(y, right!, scores!), left!, weights!),
              1e-5,
            );
            if (gradY) {
              closeTo(
                await gradY.read(),
                numericGradient((y) => soft(left!, y, scores!), right!, weights!),
                1e-5,
              );
            }
            closeTo(
              await grads.router.read(),
              numericGradient((y) => soft(left!, right!, y), scores!, weights!),
              1e-5,
            );
            const sums = new Array<number>(u).fill(0);
            choices.forEach((choice, r) => {
              sums[choice]! += weights![r]!;
            });
            closeTo(await grads.bank.read(), sums, 1e-5);
          });
        },
      ),
      randomCases(30),
    );
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 3]);
    using router = runtime().random([3, 2]);
    using wide = runtime().random([5, 2]);
    using bank = runtime().random([2]);
    using three = runtime().random([3]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => route(x, router, three), 'bank must have shape [u] with u = 2 as in router [3, 2], got [3]');
    await refuse(() => route(x, x, bank), 'router must have shape [c, u] with c = 3 as in x [2, 3], got [2, 3]');
    await refuse(
      () => route([x, x], wide, bank),
      'router must have shape [c, u] with c = 6, the columns of x, got [5, 2]',
    );
    await refuse(
      () => route([x, router], wide, bank),
      'x[1] must have shape [2, e] with the leading axes of x[0] [2, 3], got [3, 2]',
    );
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
      randomCases(30),
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
    await refuse(() => focus(x, flat), 'exponents must have shape [2, 1] with the leading axes of x [2, 3], got [2]');
    await refuse(
      () => focusBackward(x, exponents, exponents),
      'gradOut must have shape [..., d] with d = 3 as in x [2, 3], got [2, 1]',
    );
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
