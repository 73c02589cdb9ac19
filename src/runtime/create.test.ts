import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import {
  createKeyValueCache,
  createRecurrentCache,
  createRuntime,
  DTypeError,
  findMethod,
  ParameterError,
  ShapeError,
} from '../index';
import { toFloat64 } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';

describe.each(['reference', 'wasm'] as const)('on %s', (backend) => {
  const numbers = async (x: Tensor) => Array.from(toFloat64(await x.toHost()));

  test('tensors are made of one value, of steps, of a diagonal, in every dtype', async () => {
    using runtime = await createRuntime({ backend });
    for (const dtype of ['f32', 'f16', 'bf16', 'i32', 'u8', 'i8'] as const) {
      const [zeros, ones] = [runtime.zeros([2, 3], dtype), runtime.ones([2], dtype)];
      expect([zeros.shape, zeros.dtype, await numbers(zeros)]).toEqual([[2, 3], dtype, [0, 0, 0, 0, 0, 0]]);
      expect(await numbers(ones)).toEqual([1, 1]);
      expect(await numbers(runtime.full([2, 1], 7, dtype))).toEqual([7, 7]);
      expect(await numbers(runtime.arange(4, { dtype }))).toEqual([0, 1, 2, 3]);
      const eye = runtime.eye(3, dtype);
      expect([eye.shape, await numbers(eye)]).toEqual([
        [3, 3],
        [1, 0, 0, 0, 1, 0, 0, 0, 1],
      ]);
    }
    expect(await numbers(runtime.full([], -0.5))).toEqual([-0.5]);
    expect(await numbers(runtime.arange(2, { start: 1, step: 0.25 }))).toEqual([1, 1.25, 1.5, 1.75]);
    expect(await numbers(runtime.arange(-1, { start: 5, step: -2 }))).toEqual([5, 3, 1]);
    expect(runtime.arange(0).shape).toEqual([0]);
    expect(runtime.eye(0).shape).toEqual([0, 0]);
  });

  test('arrays within arrays tell their shape', async () => {
    using runtime = await createRuntime({ backend });
    const cases = [
      [5, [], [5]],
      [[1, 2], [2], [1, 2]],
      [
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
        [2, 3],
        [1, 2, 3, 4, 5, 6],
      ],
      [[[[1], [2]]], [1, 2, 1], [1, 2]],
      [[[], []], [2, 0], []],
    ] as const;
    for (const [data, shape, flat] of cases) {
      const made = runtime.tensor(data);
      expect([made.dtype, made.shape, await numbers(made)]).toEqual(['f32', shape, flat]);
    }
    expect(runtime.tensor([[1, 0]], 'i32').dtype).toBe('i32');
    expect(runtime.tensor(new Int32Array(3))).toMatchObject({ dtype: 'i32', shape: [3] });
  });
});

test('what does not fit is named by its place', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const endless: unknown[] = [];
  endless.push(endless);
  const cases = [
    [
      () => runtime.tensor([[1, 2], [3]]),
      ShapeError,
      'data[1] must be an array of 2, as the first one of its axis is, got 1',
    ],
    [
      () => runtime.tensor([[1, 2], 3]),
      ShapeError,
      'data[1] must be an array of 2, as the first one of its axis is, got 3',
    ],
    [() => runtime.tensor([1, [2]]), ParameterError, 'data[1] must be a number, got [2]'],
    [() => runtime.tensor([[1, 'x']] as never), ParameterError, "data[0][1] must be a number, got 'x'"],
    [() => runtime.tensor(endless as never), ShapeError, 'data must have at most 32 axes'],
    [() => runtime.tensor([[1.5]], 'i32'), DTypeError, 'i32 holds integers'],
    [() => runtime.tensor([1], 'i64' as never), ShapeError, "a dtype alone, got 'i64'"],
    [() => runtime.full([2], 0.5, 'i8'), DTypeError, 'i8 holds integers'],
    [() => runtime.arange(3, { step: 0 }), ParameterError, 'step must be a number other than 0'],
    [() => runtime.arange(Number.NaN), ParameterError, 'end must be a finite number, got NaN'],
    [() => runtime.eye(-1), ParameterError, 'n must be'],
  ] as const;
  for (const [make, kind, message] of cases) {
    expect(make).toThrow(kind);
    expect(make).toThrow(message);
  }
  expect(runtime.memory().live).toBe(0);
});

test('objects say in a line what they are, and nothing of their insides', async () => {
  const runtime = await createRuntime({ backend: 'reference' });
  const x = runtime.zeros([2, 3], 'f16');
  const keys = createKeyValueCache(runtime, { layers: 2, heads: 1, d: 4, capacity: 8 });
  const states = createRecurrentCache(runtime, { layers: [{ method: findMethod('lightning-attention') }], rows: 2 });
  expect(inspect({ x })).toBe('{ x: Tensor(f16 [2, 3] on reference) }');
  expect(`${x}`).toBe('Tensor(f16 [2, 3] on reference)');
  expect(Object.prototype.toString.call(x)).toBe('[object Tensor]');
  expect(inspect(keys)).toBe('KeyValueCache(2 layers, 0 tokens, f32 on reference)');
  expect(inspect(keys.layer(0))).toBe('CacheLayer(1 heads, f32 on reference)');
  expect(inspect(states)).toBe('RecurrentCache(1 layers, 0, 0 tokens on reference)');
  expect(inspect(runtime)).toBe('Runtime(reference)');
  for (const one of [x, keys, states, runtime]) {
    one.dispose();
    expect(inspect(one)).toContain('disposed');
  }
});
