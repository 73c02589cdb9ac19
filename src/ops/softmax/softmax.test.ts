import fc from 'fast-check';
import { test } from 'vitest';
import { describeWithMachineCode, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import { groupBy } from '../../group-by';
import { contiguous, pullback, softmax } from '../../index';

const shapes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 0, maxLength: 2 });
const extents = fc.integer({ min: 1, max: 300 });

describeWithMachineCode('softmax', (runtime) => {
  test('of small matrices', async () => {
    await scoped(runtime(), async () => {
      const x = runtime().tensor([0, Math.log(3), Math.log(4), 0], [2, 2]);
      expectClose(await softmax(x).read(), [0.25, 0.75, 0.8, 0.2], 1e-6);
      expectClose(await softmax(x, { axis: 0 }).read(), [0.2, 0.75, 0.8, 0.25], 1e-6);
    });
  });

  test('agrees with the definition on any shape and axis', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, extents, fc.nat(2), async (few, n, at) => {
        const axis = at % (few.length + 1);
        const shape = [...few.slice(0, axis), n, ...few.slice(axis)];
        using x = runtime().random(shape, { seed: n });
        const { out, check } = guarded(runtime(), shape);
        softmax(x, { axis: axis - shape.length, out });
        expectClose(await out.read(), defined(await x.read(), shape, axis), 1e-6);
        out.dispose();
        await check();
      }),
      randomCases(40),
    );
  });

  test.each([
    { shape: [5, 13], axis: 1 },
    { shape: [1, 7], axis: 0 },
    { shape: [7, 5], axis: 0 },
    { shape: [2, 3, 19], axis: 1 },
  ])('the gradient of $shape along $axis', async ({ shape, axis }) => {
    await scoped(runtime(), async () => {
      const [x, gradOut] = [runtime().random(shape, { seed: 1 }), runtime().random(shape, { seed: 2 })];
      const { pull } = pullback((y) => softmax(y, { axis }), x);
      const definition = (y: ArrayLike<number>) => defined(y, shape, axis);
      expectClose(await pull(gradOut).read(), numericGradient(definition, await x.read(), await gradOut.read()), 1e-6);
    });
  });

  test.each([
    { shape: [700, 70], axis: 1 },
    { shape: [300, 1100], axis: 0 },
    { shape: [2, 900, 70], axis: 1 },
  ])('of $shape along $axis, in tasks, and its gradient', async ({ shape, axis }) => {
    await scoped(runtime(), async () => {
      const [x, gradOut] = [runtime().random(shape, { seed: 1 }), runtime().random(shape, { seed: 2 })];
      const { results, pull } = pullback((y) => softmax(y, { axis }), x);
      const expected = defined(await x.read(), shape, axis);
      expectClose(await results.read(), expected, 1e-6);
      const grads = await gradOut.read();
      const inner = axis === 1 && shape.length === 2 ? 1 : (shape.at(-1) as number);
      const ofRow = (at: number) => Math.floor(at / (inner * shape[axis]!)) * inner + (at % inner);
      const means = new Float64Array(expected.length / shape[axis]!);
      expected.forEach((share, at) => {
        means[ofRow(at)]! += share * grads[at]!;
      });
      const gradX = expected.map((share, at) => share * (grads[at]! - means[ofRow(at)]!));
      expectClose(await pull(gradOut).read(), gradX, 1e-6);
    });
  });

  test('is right for large numbers, one-hot rows, infinities and NaN', async () => {
    const [most, nan] = [3e38, Number.NaN];
    const rows = [
      [most, -most, 0, 1, 2],
      [1000, 1000, 1000, 1000, 999],
      [0, -200, 5, -Infinity, -80],
      [1, 2, nan, 3, 4],
      [-Infinity, -Infinity, -Infinity, -Infinity, -Infinity],
      [1, Infinity, 0, -Infinity, 2],
      [1e-40, 0, -1e-45, 1e-45, 0],
    ];
    // Machine code is for long rows.
    const long = rows.map((row) => Array<number[]>(14).fill(row).flat());
    for (const each of [rows, long])
      await scoped(runtime(), async () => {
        const values = each.flat();
        const shape = [7, values.length / 7];
        const x = runtime().tensor(values, shape);
        const expected = defined(values, shape, 1);
        expectClose(await softmax(x).read(), expected, 1e-6);
        const turned = contiguous(x.permute([1, 0]));
        expectClose(await contiguous(softmax(turned, { axis: 0 }).permute([1, 0])).read(), expected, 1e-6);
      });
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().random([2, 3]);
    using number = runtime().tensor([1], []);
    using swapped = x.permute([1, 0]);
    using empty = runtime().empty([2, 0]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => softmax(number), 'x must have shape [..., c], got []');
    await refuse(() => softmax(swapped), 'x [3, 2] must be contiguous');
    await refuse(() => softmax(empty), 'x [2, 0] is empty');
    await refuse(() => softmax(x, { out: x }), 'out shares memory with x');
    for (const axis of [2, -3, 0.5, Number.NaN])
      await refuse(() => softmax(x, { axis }), `axis must be one of the 2 axes of x [2, 3], got ${axis}`);
  });
});

function defined(x: ArrayLike<number>, shape: readonly number[], axis: number): Float64Array {
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const n = shape[axis] as number;
  const rowOf = (at: number) => Math.floor(at / (inner * n)) * inner + (at % inner);
  const out = new Float64Array(x.length);
  for (const places of groupBy(out.keys(), rowOf).values()) {
    const largest = places.reduce((most, at) => Math.max(most, x[at] as number), Number.NEGATIVE_INFINITY);
    for (const at of places) out[at] = Math.exp((x[at] as number) - largest);
    const sum = places.reduce((total, at) => total + (out[at] as number), 0);
    for (const at of places) out[at]! /= sum;
  }
  return out;
}
