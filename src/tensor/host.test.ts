import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyHostTensor, bitsOf, HOST_DTYPES } from '../../test/host-tensors';
import { convert, DTypeError, type HostTensor, hostTensor, ParameterError, type Shape, ShapeError } from '../index';
import type { HostDType } from './dtype';
import { checkHost, toFloat64, toRowMajor } from './host';

const { Float16Array } = globalThis as unknown as { Float16Array: { from(values: number[]): Float32Array } };

describe('hostTensor', () => {
  test('plain numbers are f32 unless said otherwise', () => {
    expect(hostTensor([1, 2.5], [2])).toEqual({ dtype: 'f32', shape: [2], data: Float32Array.of(1, 2.5) });
    expect(hostTensor([1, 2.5], [2], 'f16').data).toEqual(Uint16Array.of(0x3c00, 0x4100));
    expect(hostTensor([1, 2.5], [2], 'bf16').data).toEqual(Uint16Array.of(0x3f80, 0x4020));
    expect(hostTensor([1, 2], [1, 2], 'i64').data).toEqual(BigInt64Array.of(1n, 2n));
  });

  test.each([
    ['f32', Float32Array.of(1)],
    ['f64', Float64Array.of(1)],
    ['i32', Int32Array.of(1)],
    ['i64', BigInt64Array.of(1n)],
    ['u8', Uint8Array.of(1)],
    ['u8', Buffer.from([1])],
    ['i8', Int8Array.of(1)],
  ])('a typed array of %s is taken as it is', (dtype, data) => {
    const host = hostTensor(data, []);
    expect(host.dtype).toBe(dtype);
    expect(host.data).toBe(data);
  });

  test('both 16-bit arrays are taken for f16, without a copy', () => {
    const native = Float16Array.from([1, -2]);
    const { dtype, data } = hostTensor(native as never, [2]);
    expect(dtype).toBe('f16');
    expect(data).toEqual(Uint16Array.of(0x3c00, 0xc000));
    expect(data.buffer).toBe(native.buffer);
    const bits = Uint16Array.of(1);
    expect(hostTensor(bits, [1], 'f16').data).toBe(bits);
    expect(hostTensor(bits, [1], 'bf16').data).toBe(bits);
  });

  test('the shape is a copy', () => {
    const shape = [2];
    const host = hostTensor([1, 2], shape);
    shape[0] = 9;
    expect(host.shape).toEqual([2]);
  });

  test.each<[string, () => unknown, new () => Error, string]>([
    ['too few elements', () => hostTensor([1], [2]), ShapeError, 'shape [2] needs 2 elements, got 1'],
    ['a scalar of two', () => hostTensor([1, 2], []), ShapeError, 'shape [] needs 1 elements, got 2'],
    [
      'no shape',
      () => hostTensor([1], undefined as never),
      ShapeError,
      'shape must be an array of extents, got undefined',
    ],
    [
      'no data',
      () => hostTensor(null as never, [1]),
      ParameterError,
      'data must be numbers or a typed array, got null',
    ],
    ['text', () => hostTensor('a' as never, [1]), ParameterError, "data must be numbers or a typed array, got 'a'"],
    [
      'bits of unsaid dtype',
      () => hostTensor(Uint16Array.of(1), [1]),
      DTypeError,
      "Uint16Array is not known: say dtype 'f16' or",
    ],
    [
      'bits as f32',
      () => hostTensor(Uint16Array.of(1), [1], 'f32'),
      DTypeError,
      "bits of f16 or bf16, got dtype 'f32'",
    ],
    ['f16 as bf16', () => hostTensor(Float16Array.from([1]) as never, [1], 'bf16'), DTypeError, 'convert it first'],
    ['f32 as f16', () => hostTensor(Float32Array.of(1), [1], 'f16'), DTypeError, "data is f32 but dtype is 'f16'"],
    [
      'an unknown class',
      () => hostTensor(Uint32Array.of(1) as never, [1]),
      DTypeError,
      'dtype of a Uint32Array is not known',
    ],
    [
      'an unknown dtype',
      () => hostTensor([1], [1], 'f99' as never),
      DTypeError,
      "dtype must be one of f32, f16, bf16, i32, u8, i8, f64, i64, got 'f99'",
    ],
    [
      'a fraction as i32',
      () => hostTensor([0, 1.5], [2], 'i32'),
      DTypeError,
      'i32 holds integers from -2147483648 to 2147483647, got 1.5 at index 1',
    ],
    ['NaN as i64', () => hostTensor([Number.NaN], [1], 'i64'), DTypeError, 'got NaN at index 0: round it first'],
    ['256 as u8', () => hostTensor([256], [1], 'u8'), DTypeError, 'u8 holds integers from 0 to 255, got 256'],
    ['-129 as i8', () => hostTensor([-129], [1], 'i8'), DTypeError, 'i8 holds integers from -128 to 127, got -129'],
    [
      '2^63 as i64',
      () => hostTensor([2 ** 63], [1], 'i64'),
      DTypeError,
      'to 9223372036854774784, got 9223372036854776000 at index 0',
    ],
  ])('refuses %s', (_, make, type, message) => {
    expect(make).toThrow(type);
    expect(make).toThrow(message);
  });
});

describe('checkHost', () => {
  test('takes what hostTensor makes', () => {
    fc.assert(fc.property(anyHostTensor(), (host) => checkHost('x', host)));
  });

  test.each<[string, unknown, new () => Error, string]>([
    ['nothing', null, ParameterError, 'x must be a host tensor, got null'],
    [
      'another class',
      { dtype: 'f32', shape: [1], data: Int32Array.of(1) },
      DTypeError,
      'the data of x must be Float32Array for f32, got Int32Array',
    ],
    [
      'plain numbers',
      { dtype: 'f32', shape: [1], data: [1] },
      DTypeError,
      'the data of x must be Float32Array for f32, got Array',
    ],
    ['no data', { dtype: 'f32', shape: [1] }, ParameterError, 'x must be a host tensor, got an object'],
    [
      'another size',
      { dtype: 'u8', shape: [2], data: Uint8Array.of(1) },
      ShapeError,
      'x: shape [2] needs 2 elements, got 1',
    ],
    [
      'a wrong extent',
      { dtype: 'u8', shape: [-1], data: Uint8Array.of(1) },
      ShapeError,
      'the shape of x must have non-negative',
    ],
    [
      'no dtype',
      { shape: [1], data: Uint8Array.of(1) },
      DTypeError,
      'the dtype of x must be one of f32, f16, bf16, i32, u8, i8, f64, i64, got undefined',
    ],
  ])('refuses %s', (_, host, type, message) => {
    expect(() => checkHost('x', host as HostTensor)).toThrow(type);
    expect(() => checkHost('x', host as HostTensor)).toThrow(message);
  });
});

describe('convert', () => {
  test('to the same dtype is the same tensor', () => {
    const host = hostTensor([1], [1]);
    expect(convert(host, 'f32')).toBe(host);
  });

  test('small integers come through every dtype', () => {
    const values = fc.array(fc.integer({ min: 0, max: 127 }));
    fc.assert(
      fc.property(values, fc.constantFrom(...HOST_DTYPES), fc.constantFrom(...HOST_DTYPES), (values, first, second) => {
        const host = convert(convert(hostTensor(values, [values.length]), first), second);
        expect(host.dtype).toBe(second);
        expect([...toFloat64(host)]).toEqual(values);
      }),
    );
  });

  test.each<HostDType>(['f32', 'f16', 'bf16', 'i32', 'u8', 'i8'])('%s to f64 and back is the same bits', (dtype) => {
    fc.assert(
      fc.property(anyHostTensor([dtype]), (host) => {
        fc.pre([...toFloat64(host)].every((value) => !Number.isNaN(value)));
        expect(bitsOf(convert(convert(host, 'f64'), dtype))).toEqual(bitsOf(host));
      }),
    );
  });

  test('the largest integers of i64', () => {
    const largest = hostTensor(Float64Array.of(2 ** 63 - 1024, -(2 ** 63)), [2]);
    expect(convert(largest, 'i64').data).toEqual(BigInt64Array.of(2n ** 63n - 1024n, -(2n ** 63n)));
  });

  test('rounding in floats, refusal in integers', () => {
    const host = hostTensor(Float64Array.of(1 + 2 ** -30, 1e39), [2]);
    expect([...convert(host, 'f32').data]).toEqual([1, Number.POSITIVE_INFINITY]);
    expect(() => convert(host, 'i32')).toThrow(DTypeError);
  });
});

test('toRowMajor agrees with the definition on any shape and strides', () => {
  const axis = fc.record({ extent: fc.nat({ max: 4 }), stride: fc.nat({ max: 7 }) });
  fc.assert(
    fc.property(fc.array(axis, { maxLength: 5 }), (axes) => {
      const shape: Shape = axes.map(({ extent }) => extent);
      const strides = axes.map(({ stride }) => stride);
      let positions = [0];
      for (const { extent, stride } of axes) {
        positions = positions.flatMap((at) => Array.from({ length: extent }, (_, i) => at + i * stride));
      }
      const source = BigInt64Array.from({ length: 200 }, (_, i) => BigInt(i * i));
      expect([...toRowMajor(source, 'i64', shape, strides)]).toEqual(positions.map((at) => source[at]));
    }),
  );
});
