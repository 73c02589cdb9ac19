import { expect, test } from 'vitest';
import { describeOnBackends, fewOnGpu } from '../../../test/backends';
import { expectClose, expectRefusal, guarded } from '../../../test/expect';
import { scoped } from '../../../test/scoped';
import { expectGradients } from '../../../test/tape-gradients';
import { elementwise, embedding, hostTensor, matmul, type Tensor } from '../../index';
import { linear, linearAll } from '../../nn';
import { convert, toFloat64 } from '../../tensor/host';
import { normal } from '../../tensor/random';
import { packWeight } from '../../weights';
import { decodeBlocks } from '../../weights/blocks';
import { type EncodedType, encodeBlocks } from '../../weights/encode-blocks';

/** Numbers that are integers up to 127 in magnitude times a power of two in each block of 32: rounding changes none. */
function exact(rows: number, width: number): Float32Array {
  return normal(rows * width, 3).map((value, i) => {
    const scale = 2 ** ((Math.floor(i / 32) % 5) - 2);
    return i % 32 === 7 ? 127 * scale : Math.max(-126, Math.min(126, Math.round(40 * value))) * scale;
  });
}

const TYPES = ['q8_0', 'q4_0', 'q4_1', 'q4_k'] as const;

/** A weight in blocks, and its numbers. */
function stored(type: EncodedType, shape: readonly [number, number], seed = 1) {
  const bytes = encodeBlocks(type, normal(shape[0] * shape[1], seed));
  return { source: { type, shape, bytes }, numbers: decodeBlocks(type, bytes) };
}

/** Sums over the terms of rows x [n, k] and w [c, k], or across w [k, c], and those of their magnitudes. */
function definition(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  [n, k, c]: readonly [number, number, number],
  across = false,
) {
  const values = new Float64Array(n * c);
  const magnitudes = new Float64Array(n * c);
  for (let r = 0; r < n; r++)
    for (let j = 0; j < c; j++)
      for (let i = 0; i < k; i++) {
        const term = x[r * k + i]! * w[across ? i * c + j : j * k + i]!;
        values[r * c + j]! += term;
        magnitudes[r * c + j]! += Math.abs(term);
      }
  return { values, tolerance: magnitudes.map((each) => 2e-6 * each + 1e-30) };
}

describeOnBackends('packed weights', (runtime) => {
  test.each(fewOnGpu(TYPES, 4))('%s: products of few rows and of many, exact or rounded', async (type) => {
    const width = type === 'q4_k' ? 512 : 416;
    for (const [n, columns] of fewOnGpu(
      [
        [1, 9],
        [3, 4],
        [5, 70],
        [6, 17],
        [100, 41],
      ] as const,
      1,
    )) {
      await scoped(runtime(), async () => {
        const { source, numbers } = stored(type, [columns, width]);
        using weight = packWeight(runtime(), source);
        const x = exact(n, width);
        const a = runtime().tensor(x, [n, width]);
        const { values, tolerance } = definition(x, numbers, [n, width, columns]);
        // Q4_K's scales are rounded to f16.
        const near = type === 'q4_k' ? tolerance.map((each) => 300 * each) : tolerance;
        for (const activations of ['f32', 'q8'] as const) {
          const { out, check } = guarded(runtime(), [n, columns]);
          expectClose(await matmul(a, weight, { transposeB: true, activations, out }).read(), values, near);
          out.dispose();
          await check();
        }
      });
    }
  });

  test('rows longer than what is unpacked at a time', () =>
    scoped(runtime(), async () => {
      const [width, columns] = [2048 + 96, 5];
      const { source, numbers } = stored('q4_1', [columns, width]);
      using weight = packWeight(runtime(), source);
      for (const n of fewOnGpu([2, 7], 1)) {
        const x = exact(n, width);
        const { values, tolerance } = definition(x, numbers, [n, width, columns]);
        const a = runtime().tensor(x, [n, width]);
        for (const activations of ['f32', 'q8'] as const)
          expectClose(await linear(a, weight, { activations }).read(), values, tolerance);
      }
    }));

  test('q8 rounds rows by default, within the bound that the docs tell', () =>
    scoped(runtime(), async () => {
      const [n, width, columns] = [2, 64, 7];
      const { source, numbers } = stored('q8_0', [columns, width]);
      using weight = packWeight(runtime(), source);
      const x = normal(n * width, 5);
      const a = runtime().tensor(x, [n, width]);
      const found = await linear(a, weight).read();
      expect(await linear(a, weight, { activations: 'q8' }).read()).toEqual(found);
      const { values } = definition(x, numbers, [n, width, columns]);
      const bound = values.map((_, i) => {
        const [r, c] = [Math.floor(i / columns), i % columns];
        let sum = 0;
        for (let block = 0; block < width; block += 32) {
          const largest = Math.max(...x.subarray(r * width + block, r * width + block + 32).map(Math.abs));
          for (let k = block; k < block + 32; k++) sum += (1.01 * largest * Math.abs(numbers[c * width + k]!)) / 254;
        }
        return sum;
      });
      expectClose(found, values, bound);
      expect(found.some((value, i) => Math.abs(value - values[i]!) > 1e-4)).toBe(true);
    }));

  test('floats as they are, of any width, for few rows and many', () =>
    scoped(runtime(), async () => {
      for (const type of fewOnGpu(['f32', 'f16', 'bf16'] as const, 1)) {
        const [width, columns] = [45, 11];
        const host = convert(hostTensor(normal(columns * width, 1), [columns, width]), type);
        using weight = packWeight(runtime(), hostTensor(toFloat64(host), [columns, width], 'f64'), { type });
        for (const n of fewOnGpu([2, 20], 1)) {
          const x = normal(n * width, 2);
          const { values, tolerance } = definition(x, toFloat64(host), [n, width, columns]);
          expectClose(await linear(runtime().tensor(x, [n, width]), weight).read(), values, tolerance);
        }
      }
    }));

  test('a tensor is packed as its numbers are, whatever its strides', () =>
    scoped(runtime(), async () => {
      for (const [dtype, type] of fewOnGpu(
        [
          ['f16', undefined],
          ['f32', 'q8'],
          ['bf16', 'f32'],
        ] as const,
        1,
      )) {
        const host = convert(hostTensor(normal(5 * 64, 1), [64, 5]), dtype);
        const across = runtime().fromHost(host).permute([1, 0]);
        const packing = packWeight(runtime(), across, { type });
        across.dispose();
        using weight = await packing;
        using expected = packWeight(runtime(), await runtime().fromHost(host).permute([1, 0]).toHost(), { type });
        expect(String(weight)).toBe(String(expected));
        const x = runtime().random([2, 64]);
        expect(await linear(x, weight).read()).toEqual(await linear(x, expected).read());
      }
    }));

  test('a transpose multiplies as the weight does the other way, and is disposed by itself', () =>
    scoped(runtime(), async () => {
      const [width, columns] = [64, 5];
      const weight = packWeight(runtime(), stored('q4_1', [columns, width]).source);
      const transposed = weight.transpose();
      expect(transposed.shape).toEqual([width, columns]);
      const [x, y] = [runtime().random([2, width]), runtime().random([9, columns])];
      const found = await linear(x, weight).read();
      expect(await matmul(x, transposed).read()).toEqual(found);
      expect(await linear(y, transposed).read()).toEqual(await matmul(y, weight).read());
      weight.dispose();
      expect(await matmul(x, transposed.transpose(), { transposeB: true }).read()).toEqual(found);
      const indices = runtime().tensor([0], [1], 'i32');
      await expectRefusal(runtime(), () => embedding(transposed, indices), 'table must be packed row by row');
      transposed.dispose();
    }));

  test('several products of one x, with biases', () =>
    scoped(runtime(), async () => {
      const width = 64;
      const weights = TYPES.slice(0, 3).map((type, at) => {
        const { source } = stored(type, [5 + 600 * at, width], at);
        return packWeight(runtime(), source);
      });
      const biases = [undefined, runtime().random([605], { seed: 2 }), runtime().random([1205], { seed: 3 })];
      for (const n of fewOnGpu([1, 8], 1)) {
        const x = runtime().tensor(exact(n, width), [1, n, width]);
        const found = linearAll(x, weights, { biases });
        for (const [at, out] of found.entries()) {
          expect(out.shape).toEqual([1, n, 5 + 600 * at]);
          const bias = biases[at];
          expect(await out.read()).toEqual(await linear(x, weights[at]!, { bias }).read());
          const plain = await linear(x, weights[at]!).read();
          const added = bias && (await bias.read());
          expectClose(
            await out.read(),
            plain.map((value, i) => value + (added?.[i % out.shape[2]!] ?? 0)),
            1e-3,
          );
        }
      }
      for (const each of weights) each.dispose();
    }));

  test('an epilogue, rows that lie apart, leading axes, half precision', () =>
    scoped(runtime(), async () => {
      const [width, columns] = [32, 6];
      const { source, numbers } = stored('q8_0', [columns, width]);
      using weight = packWeight(runtime(), source);
      const x = exact(4, width);
      const { values } = definition(x, numbers, [4, width, columns]);
      const turned = runtime().tensor(x, [2, 2, width]).permute([1, 0, 2]);
      const epilogue = elementwise((x) => x * 2);
      const out = await matmul(turned, weight, { transposeB: true, epilogue }).read();
      const order = [0, 2, 1, 3];
      const expected = order.flatMap((row) => [...values.subarray(row * columns, (row + 1) * columns)]);
      expectClose(
        out,
        expected.map((value) => 2 * value),
        1e-3,
      );
      const half = runtime().fromHost(convert(hostTensor(x, [4, width]), 'f16'));
      expectClose(await linear(half, weight).read(), values, 1e-3);
    }));

  test('across: rows of a weight are terms', () =>
    scoped(runtime(), async () => {
      for (const type of fewOnGpu(['q8_0', 'q4_0', 'q4_1'] as const, 1)) {
        const [n, k, columns] = [7, 390, 96];
        const { source, numbers } = stored(type, [k, columns]);
        using weight = packWeight(runtime(), source);
        const x = normal(n * k, 4);
        const { values, tolerance } = definition(x, numbers, [n, k, columns], true);
        expectClose(await matmul(runtime().tensor(x, [n, k]), weight).read(), values, tolerance);
      }
    }));

  test.each(fewOnGpu(['q8_0', 'q4_1'] as const, 1))('%s: gradients with respect to x and the bias', async (type) => {
    const { source } = stored(type, [5, 32]);
    // Differences are taken on a runtime of their own.
    const fn = ({ x, bias }: Record<string, Tensor>) =>
      linear(x!, packWeight(x!.runtime, source), { bias, activations: 'f32' });
    await expectGradients(runtime(), { fn, inputs: { x: [2, 3, 32], bias: [5] } });
  });

  test.each(fewOnGpu(TYPES, 2))('%s: rows of a table', async (type) => {
    const width = type === 'q4_k' ? 256 : 96;
    const { source, numbers } = stored(type, [7, width]);
    await scoped(runtime(), async () => {
      using table = packWeight(runtime(), source);
      const picked = [6, 0, 3, 6];
      const out = embedding(table, runtime().tensor(picked, [2, 2], 'i32'));
      expect(out.shape).toEqual([2, 2, width]);
      const expected = picked.flatMap((row) => [...numbers.subarray(row * width, (row + 1) * width)]);
      expectClose(
        await out.read(),
        expected,
        type === 'q4_k' ? expected.map((each) => 3e-3 * (1 + Math.abs(each))) : 1e-6,
      );
      const outside = runtime().tensor([7], [1], 'i32');
      const refused = () => embedding(table, outside);
      await expectRefusal(runtime(), refused, 'indices must be from 0 to 6, got 7 at element 0 of indices');
    });
  });

  test('zeros, -128, the smallest numbers and what is no number', () =>
    scoped(runtime(), async () => {
      const bytes = new Uint8Array(34).fill(0x80);
      new DataView(bytes.buffer).setUint16(0, 0x3c00, true);
      using weight = packWeight(runtime(), { type: 'q8_0', shape: [1, 32], bytes });
      const rows = [1, 0, 1e-38, Number.NaN].flatMap((value) => Array<number>(32).fill(value));
      const found = await linear(runtime().tensor(rows, [4, 32]), weight).read();
      expectClose(found.subarray(0, 3), [-128 * 32, 0, 0], 1e-3);
      expect(found[3]).toBeNaN();
    }));

  test('refuses what does not fit, by name, and frees everything', async () => {
    const { live } = runtime().memory();
    const refuse = (source: object, options: object, message: string) =>
      expectRefusal(runtime(), () => packWeight(runtime(), source as never, options), message);
    const numbers = hostTensor(normal(2 * 33, 1), [2, 33]);
    await refuse(numbers, { type: 'q8' }, 'source must have rows of a multiple of 32 numbers for q8, got [2, 33]');
    await refuse(hostTensor([1, 2], [2]), {}, 'source must be a matrix [rows, width] that is not empty, got [2]');
    await refuse(hostTensor([1, 2], [1, 2], 'i32'), {}, 'source must hold floats, got i32');
    await refuse(numbers, { type: 'q5' }, "type must be one of f32, f16, bf16, q8, q4, got 'q5'");
    const huge = hostTensor(new Float32Array(32).fill(Number.POSITIVE_INFINITY), [1, 32]);
    await refuse(huge, { type: 'q8' }, 'finite');
    const bytes = new Uint8Array(18).fill(0xff);
    await refuse({ type: 'q4_0', shape: [1, 32], bytes }, {}, 'block 0 of q4_0 has a scale that is NaN');
    await refuse({ type: 'q4_0', shape: [2, 32], bytes }, {}, 'bytes of source must be 36 for [2, 32] of q4_0');
    await refuse({ type: 'q4_k', shape: [2, 32], bytes }, {}, 'a multiple of 256 numbers for q4_k, got [2, 32]');
    expect(runtime().memory().live).toBe(live);
    using integers = runtime().tensor([1, 2], [1, 2], 'i32');
    await expect(packWeight(runtime(), integers)).rejects.toThrow('source must hold floats, got i32');
    using infinite = runtime().full([3, 32], Number.POSITIVE_INFINITY);
    await expect(packWeight(runtime(), infinite, { type: 'q4' })).rejects.toThrow('finite');
    expect(runtime().memory().live).toBe(live + 8 + 4 * 96);
    using weight = packWeight(runtime(), stored('q4_0', [4, 32]).source);
    using x = runtime().random([2, 32]);
    using wide = runtime().random([2, 33]);
    const refused = (call: () => unknown, message: string) => expectRefusal(runtime(), call, message);
    await refused(
      () => linear(wide, weight),
      'weight must have shape [out, in] with in = 33 as in x [2, 33], got [4, 32]',
    );
    await refused(() => matmul(x, weight), 'b must have shape [k, c] with k = 32');
    await refused(() => linear(x, x, { activations: 'q8' }), 'activations must be f32 where');
    await refused(
      () => linear(x, weight, { activations: 'q4' } as object),
      "activations must be one of f32, q8, got 'q4'",
    );
    await refused(() => linearAll(x, []), 'weights must be at least one');
    await refused(() => linearAll(x, [weight], { biases: [] }), 'biases must be 1, as many as weights');
    weight.dispose();
    await refused(() => linear(x, weight), 'disposed');
  });
});
