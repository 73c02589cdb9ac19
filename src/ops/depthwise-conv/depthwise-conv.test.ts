import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import { show } from '../../check';
import { depthwiseConv, depthwiseConvBackward } from '../../index';

const problems = fc.record({
  x: fc.tuple(
    fc.integer({ min: 1, max: 2 }),
    fc.integer({ min: 1, max: 5 }),
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 1, max: 6 }),
  ),
  taps: fc.tuple(fc.constantFrom(1, 3, 5), fc.constantFrom(1, 3, 7)),
  dilation: fc.option(
    fc.oneof(fc.integer({ min: 1, max: 3 }), fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 2 }))),
    { nil: undefined },
  ),
});

describeOnBackends('depthwiseConv', (runtime) => {
  test('adds the taps of a hand example', async () => {
    using x = runtime().tensor([1, 2, 3, 4], [1, 2, 2, 1]);
    using weight = runtime().tensor([0, 0, 0, 1, 10, 100, 0, 1000, 0], [3, 3, 1]);
    using bias = runtime().tensor([0.5], [1]);
    using out = await depthwiseConv(x, weight, { bias });
    expect([...(await out.read())]).toEqual([10 + 200 + 3000 + 0.5, 20 + 1 + 4000 + 0.5, 430.5, 43.5]);
  });

  test('and its gradients agree with the definition', async () => {
    await fc.assert(
      fc.asyncProperty(problems, async ({ x: shape, taps, dilation }) => {
        using x = runtime().random(shape, { seed: 1 });
        using weight = runtime().random([...taps, shape[3]], { seed: 2 });
        using bias = runtime().random([shape[3]], { seed: 3 });
        using gradOut = runtime().random(shape, { seed: 4 });
        const [pixels, kernels, biases, weights] = await Promise.all([x, weight, bias, gradOut].map((y) => y.read()));
        const distance = typeof dilation === 'number' ? [dilation, dilation] : (dilation ?? [1, 1]);
        const definition = (...inputs: [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>]) =>
          defined(shape, taps, distance, ...inputs);
        const { out, check } = guarded(runtime(), shape);
        expect(await depthwiseConv(x, weight, { bias, dilation, out })).toBe(out);
        expectClose(await out.read(), definition(pixels!, kernels!, biases!), 1e-5);
        out.dispose();
        await check();

        const grads = await depthwiseConvBackward(x, weight, gradOut, { dilation });
        using gradX = grads.gradX;
        using gradWeight = grads.gradWeight;
        using gradBias = grads.gradBias;
        const close = async (actual: typeof gradX, expected: Float64Array) =>
          expectClose(await actual.read(), expected, 3e-5);
        await close(
          gradX,
          numericGradient((y) => definition(y, kernels!, biases!), pixels!, weights!, 0.5),
        );
        await close(
          gradWeight,
          numericGradient((y) => definition(pixels!, y, biases!), kernels!, weights!, 0.5),
        );
        await close(
          gradBias,
          numericGradient((y) => definition(pixels!, kernels!, y), biases!, weights!, 0.5),
        );
      }),
      randomCases(20),
    );
  });

  test('and its gradients hold for many channels: sixteen, four and one at a time', async () => {
    const shape = [1, 2, 3, 22] as const;
    await scoped(runtime(), async () => {
      const x = runtime().random(shape, { seed: 1 });
      const weight = runtime().random([3, 3, 22], { seed: 2 });
      const bias = runtime().random([22], { seed: 3 });
      const [pixels, kernels, biases] = await Promise.all([x, weight, bias].map((y) => y.read()));
      const definition = (y: ArrayLike<number>) => defined(shape, [3, 3], [1, 1], y, kernels!, biases!);
      const out = await depthwiseConv(x, weight, { bias });
      expectClose(await out.read(), definition(pixels!), 1e-5);
      const { gradX, gradWeight } = await depthwiseConvBackward(x, weight, out);
      expectClose(await gradX.read(), numericGradient(definition, pixels!, await out.read(), 0.5), 1e-4);
      const byWeight = (y: ArrayLike<number>) => defined(shape, [3, 3], [1, 1], pixels!, y, biases!);
      expectClose(await gradWeight.read(), numericGradient(byWeight, kernels!, await out.read(), 0.5), 1e-4);
    });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([1, 4, 3, 2]);
    using weight = runtime().random([3, 3, 2]);
    using even = runtime().random([3, 2, 2]);
    using three = runtime().random([3, 3, 3]);
    using bias = runtime().random([3]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => depthwiseConv(weight, weight), 'x must have shape [b, y, x, c], got [3, 3, 2]');
    await refuse(() => depthwiseConv(x, three), 'weight must have shape [ky, kx, c] with c = 2 as in x [1, 4, 3, 2]');
    await refuse(() => depthwiseConv(x, even), 'weight must have odd ky and kx, got [3, 2, 2]');
    await refuse(() => depthwiseConv(x, weight, { bias }), 'bias must have shape [c] with c = 2');
    for (const dilation of [0, 1.5, [1], [1, 0], 'two'] as never[]) {
      await refuse(
        () => depthwiseConv(x, weight, { dilation }),
        `dilation must be an integer >= 1, or two, got ${show(dilation)}`,
      );
    }
    await refuse(
      () => depthwiseConvBackward(x, weight, weight),
      'gradOut must have shape [b, y, x, c] with b = 1 as in x [1, 4, 3, 2]',
    );
  });
});

function defined(
  [b, rows, columns, channels]: readonly [number, number, number, number],
  [tall, wide]: readonly [number, number],
  dilation: readonly number[],
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
): Float64Array {
  return Float64Array.from({ length: b * rows * columns * channels }, (_, at) => {
    const c = at % channels;
    const place = Math.floor(at / channels);
    const [column, row, picture] = [
      place % columns,
      Math.floor(place / columns) % rows,
      Math.floor(place / columns / rows),
    ];
    let sum = bias[c]!;
    for (let u = 0; u < tall; u++) {
      for (let w = 0; w < wide; w++) {
        const y = row + (u - Math.floor(tall / 2)) * dilation[0]!;
        const z = column + (w - Math.floor(wide / 2)) * dilation[1]!;
        if (y < 0 || y >= rows || z < 0 || z >= columns) continue;
        sum += weight[(u * wide + w) * channels + c]! * x[((picture * rows + y) * columns + z) * channels + c]!;
      }
    }
    return sum;
  });
}
