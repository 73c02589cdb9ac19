import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import { createRuntime, crossEntropy, pullback, type Runtime } from '../../index';

interface Settings {
  readonly reduction?: 'mean' | 'none' | undefined;
  readonly ignore?: number | undefined;
  readonly smoothing?: number | undefined;
}

const settings: fc.Arbitrary<Settings> = fc.record({
  reduction: fc.constantFrom(undefined, 'none'),
  ignore: fc.constantFrom(undefined, 0, -100),
  smoothing: fc.constantFrom(undefined, 0.25),
});

describeOnBackends('crossEntropy', (runtime) => {
  const targetsOf = (values: readonly number[], shape: readonly number[]) =>
    runtime().tensor(Int32Array.from(values), shape);

  test('of a hand example', async () => {
    await scoped(runtime(), async () => {
      const logits = runtime().tensor([0, Math.log(3), 0, 0, Math.log(2), Math.log(6)], [3, 2]);
      const targets = targetsOf([1, 0, 1], [3]);
      const expected = [4 / 3, 2, 4 / 3].map(Math.log);
      expectClose(await crossEntropy(logits, targets, { reduction: 'none' }).read(), expected, 1e-6);
      expectClose(await crossEntropy(logits, targets).read(), [Math.log(32 / 9) / 3], 1e-6);
      expectClose(await crossEntropy(logits, targets, { ignore: 0 }).read(), [Math.log(4 / 3)], 1e-6);
      // Half of the first loss, and half of the mean over both classes.
      const smooth = (Math.log(4) + Math.log(4 / 3)) / 4 + Math.log(4 / 3) / 2;
      expectClose(
        (await crossEntropy(logits, targets, { reduction: 'none', smoothing: 0.5 }).read()).subarray(0, 1),
        [smooth],
        1e-6,
      );
    });
  });

  test('and its gradient agree with the definition on any shape', async () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 2 });
    await fc.assert(
      fc.asyncProperty(
        shapes,
        fc.integer({ min: 1, max: 9 }),
        settings,
        fc.infiniteStream(fc.nat()),
        async (shape, classes, options, drawn) => {
          const rows = shape.reduce((a, b) => a * b, 1);
          const { ignore = 0 } = options;
          const labels = Array.from({ length: rows }, () => drawn.next().value as number).map((draw) =>
            draw % 4 === 0 && options.ignore !== undefined ? ignore : draw % classes,
          );
          await scoped(runtime(), async () => {
            const logits = runtime().random([...shape, classes], { seed: classes });
            const targets = targetsOf(labels, shape);
            const values = await logits.read();
            const definition = (x: ArrayLike<number>) => defined(x, labels, options);
            const { out, check } = guarded(runtime(), options.reduction === 'none' ? shape : []);
            expect(crossEntropy(logits, targets, { ...options, out })).toBe(out);
            expectClose(await out.read(), definition(values), 3e-6);
            const { pull } = pullback((x) => crossEntropy(x, targets, options), logits);
            const gradOut = runtime().random(out.shape, { seed: 3 });
            const numeric = numericGradient(definition, values, await gradOut.read());
            expectClose(await pull(gradOut).read(), numeric, 1e-5);
            out.dispose();
            await check();
          });
        },
      ),
      randomCases(30),
    );
  });

  test('of many rows, long ones, and none that counts', async () => {
    await scoped(runtime(), async () => {
      for (const [rows, classes] of [
        [700, 37],
        [3, 9001],
      ] as const) {
        const logits = runtime().random([rows, classes], { seed: 1 });
        const labels = Array.from({ length: rows }, (_, r) => (r * 31) % classes);
        const targets = targetsOf(labels, [rows]);
        const { results, pull } = pullback((x) => crossEntropy(x, targets, { ignore: 0 }), logits);
        expectClose(await results.read(), defined(await logits.read(), labels, { ignore: 0 }), 1e-5);
        // Of each row that counts the gradients sum to 0, and all but the target's are positive.
        const grads = await pull(runtime().tensor([rows], [])).read();
        labels.forEach((label, r) => {
          const row = grads.subarray(r * classes, (r + 1) * classes);
          expect(Math.abs(row.reduce((a, b) => a + b))).toBeLessThan(1e-5);
          expect(row.every((grad, c) => (label === 0 ? grad === 0 : c === label ? grad < 0 : grad > 0))).toBe(true);
        });
      }
      const logits = runtime().random([2, 3]);
      const none = pullback((x) => crossEntropy(x, targetsOf([-1, -1], [2]), { ignore: -1 }), logits);
      expect([...(await none.results.read())]).toEqual([0]);
      expect([...(await none.pull(runtime().tensor([1], [])).read())]).toEqual([0, 0, 0, 0, 0, 0]);
    });
  });

  test('large numbers, infinities and NaN', async () => {
    const [most, nan] = [3e38, Number.NaN];
    const rows = [
      [most, -most, 0, 1, 2],
      [1000, 990, 999, 1000, 0],
      [0, -Infinity, 5, -Infinity, -80],
      [-Infinity, 1, 2, 3, 4],
      [1, nan, 2, 3, 4],
      [-Infinity, -Infinity, -Infinity, -Infinity, -Infinity],
      [1, Infinity, 0, -Infinity, 2],
      [1e-40, 0, -1e-45, 1e-45, 0],
    ];
    const labels = rows.map(() => 0);
    await scoped(runtime(), async () => {
      const logits = runtime().tensor(rows.flat(), [8, 5]);
      const targets = targetsOf(labels, [8]);
      const { results, pull } = pullback((x) => crossEntropy(x, targets, { reduction: 'none' }), logits);
      expectClose(await results.read(), defined(rows.flat(), labels, { reduction: 'none' }), 1e-4);
      const grads = await pull(runtime().tensor(new Float32Array(8).fill(1), [8])).read();
      const shares = rows.flatMap((row) => {
        const largest = Math.max(...row);
        const weights = row.map((x) => Math.exp(x - largest));
        const sum = weights.reduce((a, b) => a + b);
        return weights.map((weight, c) => weight / sum - Number(c === 0));
      });
      expectClose(grads, shares, 1e-4);
    });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using logits = runtime().random([2, 3]);
    using targets = targetsOf([0, 2], [2]);
    using below = targetsOf([0, -1], [2]);
    using above = targetsOf([3, 0], [2]);
    using three = targetsOf([0, 0, 0], [3]);
    using floats = runtime().random([2]);
    using swapped = logits.permute([1, 0]);
    using single = runtime().random([]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    const classes = 'targets must be classes from 0 to 2';
    await refuse(() => crossEntropy(logits, below), `${classes}, got -1 at element 1 of targets`);
    await refuse(
      () => crossEntropy(logits, above, { ignore: 0 }),
      `${classes} or ignore = 0, got 3 at element 0 of targets`,
    );
    await refuse(() => crossEntropy(logits, above, { reduction: 'none' }), `${classes}, got 3`);
    await refuse(() => crossEntropy(logits, below, { ignore: -100 }), `${classes} or ignore = -100, got -1`);
    await refuse(
      () => crossEntropy(logits, three),
      'targets must have shape [2] with the leading axes of logits [2, 3], got [3]',
    );
    await refuse(() => crossEntropy(logits, floats), 'targets must be i32, got f32');
    await refuse(() => crossEntropy(swapped, three), 'logits [3, 2] must be contiguous');
    await refuse(() => crossEntropy(single, targets), 'logits must have shape [..., classes], got []');
    await refuse(
      () => crossEntropy(logits, targets, { smoothing: 2 }),
      'smoothing must be a number from 0 to 1, got 2',
    );
    await refuse(() => crossEntropy(logits, targets, { ignore: 0.5 }), 'ignore must be an integer from');
    await refuse(
      () => crossEntropy(logits, targets, { reduction: 'sum' as never }),
      "reduction must be one of mean, none, got 'sum'",
    );
  });
});

test.skipIf('document' in globalThis)('the mean has the same bits on any number of threads', async () => {
  const bits = new Set<number>();
  for (const threads of [1, 2, 3]) {
    using runtime: Runtime = await createRuntime({ backend: 'wasm', threads });
    using logits = runtime.random([5000, 20], { seed: 1 });
    using targets = runtime.tensor(
      Int32Array.from({ length: 5000 }, (_, r) => r % 20),
      [5000],
    );
    using loss = crossEntropy(logits, targets);
    bits.add((await loss.read())[0] as number);
  }
  expect(bits.size).toBe(1);
});

function defined(
  x: ArrayLike<number>,
  labels: readonly number[],
  { reduction, ignore, smoothing = 0 }: Settings,
): number[] {
  const classes = x.length / labels.length;
  const losses = labels.map((label, r) => {
    if (label === ignore) return 0;
    const row = Array.from(x).slice(r * classes, (r + 1) * classes);
    const largest = Math.max(...row);
    const lse = largest + Math.log(row.reduce((sum, value) => sum + Math.exp(value - largest), 0));
    const spread = smoothing > 0 ? (smoothing * row.reduce((a, b) => a + b)) / classes : 0;
    return lse - (1 - smoothing) * row[label]! - spread;
  });
  if (reduction === 'none') return losses;
  const count = labels.filter((label) => label !== ignore).length;
  return [count === 0 ? 0 : losses.reduce((a, b) => a + b) / count];
}
