import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeWithMachineCode, randomCases } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { numericGradient } from '../../../test/numeric-gradient';
import { scoped } from '../../../test/scoped';
import {
  argmax,
  createRuntime,
  exp,
  logSumExp,
  max,
  mean,
  type Runtime,
  subtract,
  sum,
  type Tensor,
} from '../../index';

const sumOf = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const maxOf = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b));
function logSumExpOf(values: readonly number[]): number {
  const largest = maxOf(values);
  return largest + Math.log(sumOf(values.map((value) => Math.exp(value - largest))));
}

/** For each result the elements that it is made of, in row-major order. */
function groupsOf(values: ArrayLike<number>, shape: readonly number[], axes: readonly number[]): number[][] {
  const groups = new Map<string, number[]>();
  for (let at = 0; at < values.length; at++) {
    let rest = at;
    const place = [...shape].reverse().map((extent) => {
      const index = rest % extent;
      rest = Math.floor(rest / extent);
      return index;
    });
    const key = place
      .reverse()
      .filter((_, axis) => !axes.includes(axis))
      .join();
    const group = groups.get(key) ?? [];
    group.push(values[at] as number);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/** Holds all reductions of x over axes to their definitions. */
async function expectDefinitions(runtime: Runtime, x: Tensor, axes: readonly number[], keepDims: boolean) {
  const groups = groupsOf(await x.read(), x.shape, axes);
  const shape = x.shape.flatMap((extent, axis) => (axes.includes(axis) ? (keepDims ? [1] : []) : [extent]));
  // Some axes from the end, in another order.
  const given = { axes: axes.map((axis, at) => (at % 2 === 0 ? axis - x.rank : axis)).reverse(), keepDims };
  const sizes = groups.map((group) => sumOf(group.map(Math.abs)));
  const results = [
    [sum, sumOf, sizes.map((size) => 1e-6 * size)],
    [
      mean,
      (group: number[]) => sumOf(group) / group.length,
      sizes.map((size, at) => (1e-6 * size) / groups[at]!.length),
    ],
    [max, maxOf, 0],
    [logSumExp, logSumExpOf, 4e-6],
  ] as const;
  for (const [call, definition, tolerance] of results) {
    const { out, check } = guarded(runtime, shape);
    expect(call(x, { ...given, out })).toBe(out);
    expectClose(
      await out.read(),
      groups.map((group) => definition(group)),
      tolerance,
    );
    out.dispose();
    await check();
  }
  using place = argmax(x, given);
  expect(place).toMatchObject({ shape, dtype: 'i32' });
  expect([...(await place.read())]).toEqual(groups.map((group) => group.indexOf(maxOf(group))));
}

describeWithMachineCode('reductions', (runtime) => {
  test('of a small matrix', async () => {
    using x = runtime().tensor([1, 2, 6, 5, 4, 3], [2, 3]);
    const read = async (result: Tensor) => [result.shape, [...(await result.read())]];
    await scoped(runtime(), async () => {
      expect(await read(sum(x))).toEqual([[], [21]]);
      expect(await read(sum(x, { axes: [0] }))).toEqual([[3], [6, 6, 9]]);
      expect(await read(sum(x, { axes: [-1], keepDims: true }))).toEqual([
        [2, 1],
        [9, 12],
      ]);
      expect(await read(sum(x, { axes: [] }))).toEqual([
        [2, 3],
        [1, 2, 6, 5, 4, 3],
      ]);
      expect(await read(mean(x, { axes: [1] }))).toEqual([[2], [3, 4]]);
      expect(await read(max(x, { axes: [0] }))).toEqual([[3], [5, 4, 6]]);
      expect(await read(argmax(x, { axes: [1] }))).toEqual([[2], [2, 0]]);
      expect(await read(argmax(x))).toEqual([[], [2]]);
      const twice = runtime().tensor([3, 3], [2]);
      expectClose(await logSumExp(twice).read(), [3 + Math.log(2)], 1e-6);
      expect(await read(sum(runtime().tensor([7], [])))).toEqual([[], [7]]);
    });
  });

  test('agree with their definitions on any shape and axes', async () => {
    const extents = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 3 });
    const long = fc.integer({ min: 1, max: 300 });
    await fc.assert(
      fc.asyncProperty(extents, long, fc.nat(), fc.nat(), fc.boolean(), async (few, n, at, bits, keepDims) => {
        const shape = [...few];
        shape.splice(at % (few.length + 1), 0, n);
        const axes = [...shape.keys()].filter((axis) => (bits >> axis) % 2 === 1);
        using x = runtime().random(shape, { seed: n });
        await expectDefinitions(runtime(), x, axes, keepDims);
      }),
      randomCases(30),
    );
  });

  test.each([
    { shape: [2, 20_000], axes: [1] },
    { shape: [3, 2 * 16384 + 1], axes: [1] },
    { shape: [20_000, 3], axes: [0] },
    { shape: [300, 1030], axes: [0] },
    { shape: [2, 600, 70], axes: [1] },
    { shape: [130, 3, 150], axes: [0, 2] },
  ])('of $shape over $axes, in parts', async ({ shape, axes }) => {
    using x = runtime().random(shape, { seed: 1 });
    await expectDefinitions(runtime(), x, axes, false);
  });

  test('lose no digits in long sums', async () => {
    // Added one after the other in float32 these would be off by a hundredth.
    const count = 1_000_000;
    using x = runtime().tensor(new Float32Array(count).fill(0.1), [count / 4, 4]);
    using whole = sum(x);
    using columns = sum(x, { axes: [0] });
    const total = count * Math.fround(0.1);
    expectClose(await whole.read(), [total], 1e-6 * total);
    expectClose(await columns.read(), new Float64Array(4).fill(total / 4), 1e-6 * total);
  });

  test('hand on NaN and infinities, whatever the axis', async () => {
    const [most, nan] = [Math.fround(3.4e38), Number.NaN];
    const rows = [
      { row: [1, nan, 2, 3, nan], is: [nan, nan, nan, 1] },
      { row: [-Infinity, -Infinity, -Infinity, -Infinity, -Infinity], is: [-Infinity, -Infinity, -Infinity, 0] },
      { row: [-Infinity, 1, Infinity, 0, Infinity], is: [nan, Infinity, Infinity, 2] },
      { row: [0, -Infinity, -Infinity, 0, -1000], is: [-Infinity, 0, Math.log(2), 0] },
      { row: [-most, most, 0, 1000, -1000], is: [0, most, most, 1] },
      { row: [1000, 1000, 999, -1000, 0], is: [1999, 1000, 1000 + Math.log(2 + Math.exp(-1)), 0] },
      { row: [-0, 0, 0, -0, -1], is: [-1, 0, Math.log(4 + Math.exp(-1)), 0] },
      { row: [1e-45, 1e-40, 0, -1e-40, 1e-45], is: [0, 1e-40, Math.log(5), undefined] },
    ];
    const values = rows.flatMap(({ row }) => row);
    using across = runtime().tensor(values, [8, 5]);
    using down = runtime().tensor(
      Float32Array.from(values, (_, at) => values[(at % 8) * 5 + Math.floor(at / 8)] as number),
      [5, 8],
    );
    const expected = [0, 1, 2, 3].map((each) => rows.map(({ is }) => is[each] as number));
    // Machine code is for long rows.
    const longRows = rows.flatMap(({ row }) => Array<number[]>(14).fill(row).flat());
    using long = runtime().tensor(longRows, [8, 70]);
    using largest = max(long, { axes: [1] });
    expectClose(await largest.read(), expected[1]!, 1e-38);
    using exponentials = logSumExp(long, { axes: [1] });
    expectClose(
      await exponentials.read(),
      expected[2]!.map((each) => each + Math.log(14)),
      1e-4,
    );
    for (const [x, axis] of [
      [across, 1],
      [down, 0],
    ] as const) {
      const axes = [axis];
      await scoped(runtime(), async () => {
        // Whether the largest absorb those beside them is a matter of order.
        const sums = (await sum(x, { axes }).read()).map((total, row) => (row === 4 ? 0 : total));
        expectClose(sums, expected[0]!, 1e-4);
        expectClose(await max(x, { axes }).read(), expected[1]!, 1e-38);
        expectClose(await logSumExp(x, { axes }).read(), expected[2]!, 1e-4);
        // A GPU may take denormals for zeros.
        expect([...(await argmax(x, { axes }).read())].slice(0, 7)).toEqual(expected[3]!.slice(0, 7));
      });
    }
  });

  test('the first of equal ones is the largest', async () => {
    const n = 40_000;
    const values = Float32Array.from(
      { length: 3 * n },
      (_, at) => [at % 7, -at, at % n === 30_000 || at % n === 39_999 ? 1 : 0][Math.floor(at / n)]!,
    );
    using x = runtime().tensor(values, [3, n]);
    using places = argmax(x, { axes: [1] });
    expect([...(await places.read())]).toEqual([6, 0, 30_000]);
    using flat = runtime().tensor(new Float32Array(n), [n / 8, 8]);
    using zeros = argmax(flat, { axes: [0] });
    expect([...(await zeros.read())]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('the gradients that the docstrings name', async () => {
    const shape = [4, 3] as const;
    using x = runtime().random(shape, { seed: 1 });
    using gradOut = runtime().random([4, 1], { seed: 2 });
    const [values, weights] = [await x.read(), await gradOut.read()];
    const overRows = (f: (row: number[]) => number) =>
      numericGradient((moved) => groupsOf(moved, shape, [1]).map(f), values, weights, 1e-4);
    await scoped(runtime(), async () => {
      const shares = exp(subtract(x, logSumExp(x, { axes: [1], keepDims: true })));
      expectClose(
        (await shares.read()).map((share, at) => share * weights[Math.floor(at / 3)]!),
        overRows(logSumExpOf),
        1e-6,
      );
      const repeated = gradOut.expand(shape);
      expectClose(await repeated.read(), overRows(sumOf), 1e-6);
      expectClose(
        (await repeated.read()).map((grad) => grad / 3),
        overRows((row) => sumOf(row) / 3),
        1e-6,
      );
    });
  });

  test('refuse what does not fit, by name, and free everything', async () => {
    using x = runtime().random([2, 3]);
    using cube = runtime().random([2, 3, 2]);
    using whole = runtime().tensor(new Int32Array(2), [2]);
    using swapped = x.permute([1, 0]);
    using empty = runtime().empty([2, 0]);
    using other = runtime().empty([2]);
    using line = cube.reshape([12]);
    using within = line.slice(0, 0, 3);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => sum(whole), 'x must be f32, got i32');
    await refuse(() => max(swapped), 'x [3, 2] must be contiguous, got strides [1, 3]');
    await refuse(() => logSumExp(empty), 'x [2, 0] is empty');
    const axes = 'axes must be an array of different axes of x [2, 3], got';
    await refuse(() => sum(x, { axes: [2] }), `${axes} [2]`);
    await refuse(() => sum(x, { axes: [-3] }), `${axes} [-3]`);
    await refuse(() => mean(x, { axes: [0, -2] }), `${axes} [0, -2]`);
    await refuse(() => argmax(x, { axes: [0.5] }), `${axes} [0.5]`);
    await refuse(() => sum(x, { axes: 1 as never }), `${axes} 1`);
    await refuse(() => sum(x, { keepDims: 1 as never }), 'keepDims must be true or false, got 1');
    await refuse(() => sum(x, { axis: 1 } as never), "sum has no option 'axis'");
    await refuse(() => sum(x, { axes: [0], out: other }), 'out must have shape [3], got [2]');
    await refuse(() => argmax(x, { axes: [1], out: other as never }), 'out must be i32, got f32');
    await refuse(() => sum(cube, { axes: [0, 2], out: within }), 'out shares memory with x');
  });
});

test.skipIf('document' in globalThis)('results have the same bits on any number of threads', async () => {
  const bits: string[] = [];
  for (const threads of [1, 2, 3]) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    await scoped(runtime, async () => {
      const x = runtime.random([700, 1100], { seed: 1 });
      const results = [{}, { axes: [0] }, { axes: [1] }].flatMap((axes) => [
        sum(x, axes),
        mean(x, axes),
        logSumExp(x, axes),
      ]);
      const read = await Promise.all(results.map((result) => result.read()));
      bits.push(read.map((values) => new Uint32Array(values.slice().buffer).join()).join());
    });
  }
  expect(new Set(bits).size).toBe(1);
});
