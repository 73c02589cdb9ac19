import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import { batchNorm, pullback, type Tensor } from '../../index';

const problems = fc.record({
  shape: fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 6 })),
  isGiven: fc.boolean(),
  epsilon: fc.constantFrom(undefined, 0.5),
});

describeOnBackends('batchNorm', (runtime) => {
  test('and its gradients agree with the definition', async () => {
    await fc.assert(
      fc.asyncProperty(problems, async ({ shape, isGiven, epsilon = 1e-5 }) => {
        const c = shape[2];
        // A batch of one place has no variance: its gradient is all rounding.
        if (!isGiven && shape[0] * shape[1] < 3) return;
        const live = runtime().memory().live;
        await scoped(runtime(), async () => {
          const x = runtime().random(shape, { seed: 1 });
          const [gain, bias, mean] = [2, 3, 4].map((seed) => runtime().random([c], { seed }));
          const variance = runtime().tensor(
            Float32Array.from({ length: c }, (_, at) => 0.5 + at),
            [c],
          );
          const gradOut = runtime().random(shape, { seed: 5 });
          const options = { epsilon, ...(isGiven && { statistics: { mean: mean!, variance } }) };
          const [values, gains, biases, weights] = await Promise.all([x, gain!, bias!, gradOut].map((y) => y.read()));
          const given = isGiven ? ([await mean!.read(), await variance.read()] as const) : undefined;
          const definition = (y: ArrayLike<number>, g: ArrayLike<number>, a: ArrayLike<number>) =>
            defined(y, g, a, epsilon, given);
          const results = await batchNorm(x, gain!, bias!, options);
          expectClose(await results.out.read(), definition(values!, gains!, biases!), 1e-4);
          const expected = statisticsOf(values!, c);
          expectClose(await results.mean.read(), given?.[0] ?? expected.mean, 1e-5);
          expectClose(await results.variance.read(), given?.[1] ?? expected.variance, 1e-5);

          const { pull } = pullback((inputs) => batchNorm(inputs.x, inputs.gain, inputs.bias, options).out, {
            x,
            gain: gain!,
            bias: bias!,
          });
          const grads = pull(gradOut);
          const close = async (actual: Tensor, numeric: Float64Array) =>
            expectClose(
              await actual.read(),
              numeric,
              numeric.map((value) => 3e-3 * Math.max(1, Math.abs(value))),
            );
          await close(
            grads.x,
            numericGradient((y) => definition(y, gains!, biases!), values!, weights!),
          );
          await close(
            grads.gain,
            numericGradient((y) => definition(values!, y, biases!), gains!, weights!),
          );
          await close(
            grads.bias,
            numericGradient((y) => definition(values!, gains!, y), biases!, weights!),
          );
        });
        expect(runtime().memory().live).toBe(live);
      }),
      randomCases(15),
    );
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 3]);
    using c = runtime().random([3]);
    using two = runtime().random([2]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => batchNorm(x, two, c), 'gain must have shape [c] with c = 3 as in x [2, 3], got [2]');
    await refuse(
      () => batchNorm(x, c, c, { statistics: { mean: c, variance: two } }),
      'variance must have shape [c] with c = 3 as in x [2, 3], got [2]',
    );
    await refuse(() => batchNorm(x, c, c, { epsilon: -1 }), 'epsilon must be a finite number >= 0, got -1');
  });
});

function statisticsOf(x: ArrayLike<number>, c: number): { mean: number[]; variance: number[] } {
  const columns = Array.from({ length: c }, (_, at) => Array.from(x).filter((_, i) => i % c === at));
  const mean = columns.map((column) => column.reduce((sum, value) => sum + value, 0) / column.length);
  const variance = columns.map(
    (column, at) => column.reduce((sum, value) => sum + (value - mean[at]!) ** 2, 0) / column.length,
  );
  return { mean, variance };
}

function defined(
  x: ArrayLike<number>,
  gain: ArrayLike<number>,
  bias: ArrayLike<number>,
  epsilon: number,
  given?: readonly [ArrayLike<number>, ArrayLike<number>],
): number[] {
  const own = statisticsOf(x, gain.length);
  const [mean, variance] = given ?? [own.mean, own.variance];
  return Array.from(x, (value, at) => {
    const c = at % gain.length;
    return ((value - mean[c]!) / Math.sqrt(variance[c]! + epsilon)) * gain[c]! + bias[c]!;
  });
}
