import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectRefusal, guarded } from '../../../test/expect';
import { createRuntime, type DType, embedding, gather } from '../../index';
import { toFloat64 } from '../../tensor/host';

describeOnBackends('gather', (runtime) => {
  test('picks rows in the order of the indices', async () => {
    using table = runtime().tensor([0, 1, 10, 11, 20, 21], [3, 2]);
    using indices = runtime().tensor(new Int32Array([2, 0, 2, 1]), [2, 2]);
    using out = await gather(table, indices);
    expect(out.shape).toEqual([2, 2, 2]);
    expect([...(await out.read())]).toEqual([20, 21, 0, 1, 20, 21, 10, 11]);
  });

  test('agrees with the definition on any shape', async () => {
    const list = fc.array(fc.nat({ max: 1000 }), { minLength: 1, maxLength: 50 });
    const extent = fc.integer({ min: 1, max: 40 });
    await fc.assert(
      fc.asyncProperty(extent, extent, list, async (t, c, numbers) => {
        const rows = numbers.map((number) => number % t);
        using table = runtime().random([t, c], { seed: 1 });
        using indices = runtime().tensor(Int32Array.from(rows), [rows.length]);
        const { out, check } = guarded(runtime(), [rows.length, c]);
        await gather(table, indices, { out });
        const source = await table.read();
        expect([...(await out.read())]).toEqual(rows.flatMap((row) => [...source.subarray(row * c, (row + 1) * c)]));
        out.dispose();
        await check();
      }),
      randomCases(30),
    );
  });

  test.each(['f32', 'f16', 'bf16'] as const)('takes rows of %s as they are, or as f32', async (dtype) => {
    for (const c of [1, 5, 24]) {
      using table = runtime().random([7, c], { seed: c, dtype });
      using indices = runtime().tensor(new Int32Array([6, 0, 3, 6, 5, 1]), [3, 2]);
      const kept = guarded<DType>(runtime(), [3, 2, c], dtype);
      const wide = guarded(runtime(), [3, 2, c]);
      expect(gather<DType>(table, indices, { out: kept.out })).toBe(kept.out);
      expect(embedding(table, indices, { out: wide.out })).toBe(wide.out);
      const rows = [6, 0, 3, 6, 5, 1].map((row) => table.slice(0, row, row + 1));
      const expected = (await Promise.all(rows.map((row) => row.toHost()))).flatMap((row) => [...toFloat64(row)]);
      expect([...toFloat64(await kept.out.toHost())]).toEqual(expected);
      expect([...toFloat64(await wide.out.toHost())]).toEqual(expected);
      for (const each of [...rows, kept.out, wide.out]) each.dispose();
      await kept.check();
      await wide.check();
    }
  });

  test('names the index that is outside the table', async () => {
    using table = runtime().random([3, 2]);
    using above = runtime().tensor(new Int32Array([0, 3]), [2]);
    using below = runtime().tensor(new Int32Array([-1]), [1]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => gather(table, above), 'indices must be from 0 to 2, got 3 at element 1 of indices');
    await refuse(() => embedding(table, below), 'indices must be from 0 to 2, got -1 at element 0 of indices');
    await refuse(() => gather(table, below), 'indices must be from 0 to 2, got -1 at element 0 of indices');
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using other = await createRuntime({ backend: 'reference' });
    using table = runtime().random([3, 2]);
    using swapped = table.permute([1, 0]);
    using vector = runtime().random([3]);
    using indices = runtime().tensor(new Int32Array(4), [2, 2]);
    using turned = indices.permute([1, 0]);
    using half = runtime().empty([2, 2, 2], 'f16');
    using none = runtime().empty([0], 'i32');
    const foreign = other.tensor(new Int32Array(1), [1]);
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => gather(vector, indices), 'table must have shape [t, c], got [3]');
    await refuse(() => gather(swapped, indices), 'table [2, 3] must be contiguous, got strides [1, 2]');
    await refuse(() => gather(indices, indices), 'table must be f32, f16, bf16, got i32');
    await refuse(() => gather(table, vector), 'indices must be i32, got f32');
    await refuse(() => gather(table, turned), 'indices [2, 2] must be contiguous, got strides [1, 2]');
    await refuse(() => gather(table, none), 'indices [0] is empty');
    await refuse(() => embedding(indices, indices), 'table must be f32, f16, bf16, got i32');
    await refuse(() => embedding(table, indices, { out: half as never }), 'out must be f32, got f16');
    await refuse(() => gather(table, foreign), 'indices lives on another runtime than table');
  });
});
