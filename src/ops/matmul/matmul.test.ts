import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { createRuntime, matmul, type Tensor } from '../../index';

const extent = fc.integer({ min: 1, max: 70 });

describeOnBackends('matmul', (runtime) => {
  test('multiplies the matrices of a hand example', async () => {
    using a = runtime().tensor([1, 2, 3, 4, 5, 6], [2, 3]);
    using b = runtime().tensor([7, 8, 9, 10, 11, 12], [3, 2]);
    using out = await matmul(a, b);
    expect(out.shape).toEqual([2, 2]);
    expect([...(await out.read())]).toEqual([58, 64, 139, 154]);
  });

  test('agrees with the definition on odd shapes, transposed views and cut columns', async () => {
    const layout = fc.constantFrom('row-major', 'transposed', 'cut');
    await fc.assert(
      fc.asyncProperty(extent, extent, extent, layout, layout, async (r, k, c, layoutA, layoutB) => {
        using a = laidOut(layoutA, [r, k], 1);
        using b = laidOut(layoutB, [k, c], 2);
        const { out, check } = guarded(runtime(), [r, c]);
        await matmul(a, b, { out });
        await expectProduct(a, b, out);
        out.dispose();
        await check();
      }),
      { numRuns: 40 },
    );
  });

  test('takes long inner extents and single rows and columns', async () => {
    for (const [r, k, c] of [
      [1, 1, 1],
      [1, 1000, 1],
      [1, 3, 257],
      [129, 2, 1],
    ] as const) {
      using a = laidOut('row-major', [r, k], 3);
      using b = laidOut('row-major', [k, c], 4);
      using out = await matmul(a, b);
      await expectProduct(a, b, out);
    }
  });

  test('flattens leading axes', async () => {
    using a = runtime().random([2, 3, 4, 5], { seed: 5 });
    using b = runtime().random([5, 6], { seed: 6 });
    using rows = a.reshape([24, 5]);
    using out = await matmul(a, b);
    expect(out.shape).toEqual([2, 3, 4, 6]);
    await expectProduct(rows, b, out);
  });

  test('keeps NaN and infinity where they belong', async () => {
    using a = runtime().tensor([1, 0, 0, 1], [2, 2]);
    using b = runtime().tensor([Number.NaN, 1, 2, Number.POSITIVE_INFINITY], [2, 2]);
    using out = await matmul(a, b);
    expect([...(await out.read())]).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.POSITIVE_INFINITY]);
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using a = runtime().random([2, 3, 4]);
    using b = runtime().random([4, 5]);
    using half = runtime().random([4, 5], { dtype: 'f16' });
    using vector = runtime().random([4]);
    using swapped = a.permute([1, 0, 2]);
    using turned = b.permute([1, 0]);
    using empty = runtime().empty([0, 4]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => matmul(vector, b), 'a must have shape [..., r, k], got [4]');
    await refuse(() => matmul(a, a), 'b must have shape [k, c] with k = 4 as in a [2, 3, 4], got [2, 3, 4]');
    await refuse(() => matmul(a, half), 'b must be f32, got f16');
    await refuse(() => matmul(swapped, b), 'the leading axes of a [3, 2, 4] must lie in memory as one');
    await refuse(() => matmul(empty, b), 'a [0, 4] is empty');
    await refuse(() => matmul(a, b, { out: b }), 'out must have shape [2, 3, 5], got [4, 5]');
    await refuse(() => matmul(b, turned, { out: b }), 'out must have shape [4, 4], got [4, 5]');
    await refuse(() => matmul(a, b, { transposed: true } as object), "matmul has no option 'transposed'");
    await refuse(() => matmul([[1]] as unknown as Tensor, b), 'a must be a Tensor, got an array of 1');
    await refuse(() => matmul(a, b, { signal: AbortSignal.abort(new Error('stopped')) }), 'stopped');
  });

  test('refuses tensors that are disposed or live elsewhere', async () => {
    using other = await createRuntime({ backend: 'reference' });
    using a = runtime().random([2, 3]);
    const b = runtime().random([3, 2]);
    const foreign = other.random([3, 2]);
    await expectRefusal(runtime(), () => matmul(a, foreign), 'b lives on another runtime than a');
    b.dispose();
    await expectRefusal(runtime(), () => matmul(a, b), 'b: the tensor of shape [3, 2] was disposed');
  });

  /** Random numbers of `shape`, lying in memory as `layout` says. */
  function laidOut(layout: string, [rows, columns]: readonly [number, number], seed: number): Tensor<'f32'> {
    if (layout === 'row-major') return runtime().random([rows, columns], { seed });
    using whole = runtime().random(layout === 'cut' ? [rows, columns + 5] : [columns, rows], { seed });
    return layout === 'cut' ? whole.slice(1, 3, 3 + columns) : whole.permute([1, 0]);
  }
});

async function expectProduct(a: Tensor, b: Tensor, out: Tensor): Promise<void> {
  const [left, right] = [await a.read(), await b.read()];
  const [rows, inner] = a.shape as [number, number];
  const columns = b.shape[1] as number;
  const expected = new Float64Array(rows * columns);
  const tolerance = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      for (let i = 0; i < inner; i++) {
        const term = left[r * inner + i]! * right[i * columns + c]!;
        expected[r * columns + c]! += term;
        tolerance[r * columns + c]! += 1e-6 * Math.abs(term);
      }
    }
  }
  expectClose(await out.read(), expected, tolerance);
}
