import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describeOnBackends, randomCases } from '../../../test/backends';
import { expectRefusal, guarded } from '../../../test/expect';
import { expectGradients } from '../../../test/tape-gradients';
import { elementwise, map, pullback, type Tensor } from '../../index';
import { hostTensor } from '../../tensor/host';

describeOnBackends('captured tensors of map', (runtime) => {
  test('a hand example: elements by index, the shape, and what lies outside', async () => {
    using i = runtime().tensor([2, 0, -1, 3], [4], 'i32');
    using table = runtime().tensor([10, 20, 30], [3]);
    using ids = runtime().tensor([1, 2, 0], [3], 'i32');
    const captured = { table, of: { ids }, offset: 1 };
    using found = map((i, { table }) => table[i]!, i, { captured });
    expect([...(await found.read())]).toEqual([30, 10, Number.NaN, Number.NaN]);
    using moved = map((i, { table, of, offset }) => table[of.ids[i]! + offset]! * 2, i, { captured });
    expect([...(await moved.read())]).toEqual([40, 60, 40, 40]);
    using words = map((i, { of }) => of.ids[i]! + 5, i, { captured });
    expect([words.dtype, ...(await words.read())]).toEqual(['i32', 5, 6, 5, 5]);
    using clamped = map((i, { table }) => table[Math.min(i & 7, table.shape[0]! - 1)]!, i, { captured });
    expect([...(await clamped.read())]).toEqual([30, 10, 30, 30]);
  });

  test('another tensor of another size, and a constant index', async () => {
    using x = runtime().tensor([0.4, 2.6], [2]);
    for (const values of [
      [1, 2],
      [3, 4, 5],
    ]) {
      using table = runtime().tensor(values, [values.length]);
      using out = map((x, { table }) => table[Math.min(Math.max(x, 0), table.size - 1) | 0]! + table[1]!, x, {
        captured: { table },
      });
      expect([...(await out.read())]).toEqual([values[0]! + values[1]!, values.at(-1)! + values[1]!]);
    }
  });

  test('any elements at any indices, strided and broadcast', async () => {
    const word = fc.constantFrom(
      0,
      -0,
      1.5,
      -2,
      1e-40,
      3e38,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    );
    const place = fc.constantFrom(-(2 ** 31), -1, 0, 1, 2, 3, 5, 8, 2 ** 31 - 1);
    await fc.assert(
      fc.asyncProperty(
        fc.array(word, { minLength: 1, maxLength: 9 }),
        fc.array(place, { minLength: 6, maxLength: 6 }),
        async (values, places) => {
          using flat = runtime().tensor(places, [3, 2], 'i32');
          using i = flat.permute([1, 0]);
          using x = runtime().random([2, 2, 3], { seed: 1 });
          using table = runtime().tensor(values, [values.length]);
          const { out, check } = guarded(runtime(), [2, 2, 3]);
          map((i, x, { table }) => (x > 0 ? table[i]! : -table[i]!), i, x, { captured: { table }, dtype: 'f32', out });
          const signs = await x.read();
          const expected = Array.from(signs, (sign, at) => {
            const [row, column] = [Math.floor(at / 3) % 2, at % 3];
            const found = values[places[2 * column + row]!];
            return found === undefined ? Number.NaN : Math.fround(sign > 0 ? found : -found);
          });
          // Of denormals a GPU may take the sign alone.
          const isTiny = (value: number) => Math.abs(value) < 2 ** -126;
          const plain = (all: ArrayLike<number>) => Array.from(all, (each) => (isTiny(each) ? 0 : each));
          expect(plain(await out.read())).toEqual(plain(expected));
          out.dispose();
          await check();
        },
      ),
      randomCases(20),
    );
  });

  test('more elements than a task and a block', async () => {
    using i = runtime().tensor(
      Int32Array.from({ length: 20003 }, (_, at) => at),
      [20003],
    );
    using table = runtime().random([20000], { seed: 3 });
    using out = map((i, { table }) => 2 * table[19999 - i]!, i, { captured: { table } });
    const [got, values] = [await out.read(), await table.read()];
    expect(got.findIndex((each, at) => !Object.is(each, at < 20000 ? 2 * values[19999 - at]! : Number.NaN))).toBe(-1);
  });

  test('gradients with respect to elements and captured tensors', () =>
    expectGradients(runtime(), {
      fn: ({ x, table, scale, i, ids }) => ({
        looked: map((i, x, { table, scale }) => table[i]! * x * scale[0]! + Math.sin(table[3]!), i!, x!, {
          captured: { table: table!, scale: scale! },
          dtype: 'f32',
        }),
        twice: map((i, { table, of, step }) => table[of[i]! + step]! ** 2, i!, {
          captured: { table: table!, of: ids!, step: 1 },
        }),
        listed: map((i, { table }) => 2 * table[i]!, [i!, ids!], { captured: { table: table! } })[1],
      }),
      inputs: {
        x: [2, 3],
        table: [2, 3],
        scale: [1],
        i: hostTensor(Int32Array.of(0, 5, 5), [3]),
        ids: hostTensor(Int32Array.of(1, 0, 2, 3, 4, 0), [6]),
      },
    }));

  test('what is read outside has no gradient', async () => {
    using i = runtime().tensor([1, -1, 2, 1], [4], 'i32');
    using table = runtime().tensor([1, 2], [2]);
    const { results, pull } = pullback(({ table }) => map((i, { table }) => table[i]!, i, { captured: { table } }), {
      table,
    });
    using ones = runtime().tensor([1, 1, 1, 1], [4]);
    const gradients = pull(ones);
    expect([...(await gradients.table.read())]).toEqual([0, 2]);
    for (const each of [results, gradients.table]) each.dispose();
  });

  test('refuses what does not fit, by name, and frees everything', async () => {
    using x = runtime().tensor([1, 2], [2]);
    using i = runtime().tensor([1, 0], [2], 'i32');
    using table = runtime().tensor([1, 2, 3, 4], [2, 2]);
    using half = runtime().tensor([1, 2], [2], 'f16');
    using gone = runtime().tensor([1], [1]);
    gone.dispose();
    const at = (i: number, { table }: { table: { readonly [index: number]: number } }) => table[i]!;
    const refuse = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refuse(() => map(at, x, { captured: { table } }), "map: the index of 'table' may be no integer");
    await refuse(() => map(at, i, { captured: { table: half } }), 'captured.table must be f32 or i32, got f16');
    using swapped = table.permute([1, 0]);
    await refuse(() => map(at, i, { captured: { table: swapped } }), 'captured.table [2, 2] must be contiguous');
    await refuse(() => map(at, i, { captured: { table: gone } }), 'captured.table');
    await refuse(() => map(at, i, { captured: { table: [1, 2] } }), "an element of 'table', which is no tensor, at 1");
    await refuse(
      () => elementwise((x, { t }) => x + (t as Tensor & number[])[0]!, { t: table }),
      'elementwise takes no captured tensors',
    );
    await refuse(
      () => map((x, { t }) => x + t[0]!, x, { captured: { t: x }, out: x }),
      'out overlaps captured.t: pass a tensor of its own',
    );
  });
});
