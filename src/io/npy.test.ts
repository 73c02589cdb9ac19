import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyHostTensor, bitsOf } from '../../test/host-tensors';
import { convert, DTypeError, type HostTensor, hostTensor, ParameterError, ParseError } from '../index';
import { readNpy, writeNpy } from './index';

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../test/fixtures/${name}.npy`, import.meta.url)));
const numbers = (tensor: HostTensor) => [...convert(tensor, 'f64').data];
const count = (length: number, first = -3) => Array.from({ length }, (_, i) => first + i);

/** An npy file with this header. */
function npy(header: string, data: Uint8Array = new Uint8Array(), version = [1, 0]): Uint8Array {
  const length = new Uint8Array(version[0] === 1 ? 2 : 4);
  length.set([header.length & 0xff, header.length >> 8]);
  return Uint8Array.from([0x93, ...Buffer.from('NUMPY'), ...version, ...length, ...Buffer.from(header), ...data]);
}
const dict = (shape: string, descr = '<f4') => `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;

function refuse(bytes: Uint8Array, message: string): void {
  const read = () => readNpy(bytes);
  expect(read).toThrow(ParseError);
  expect(read).toThrow(message);
}

describe('files that NumPy wrote', () => {
  test.each([
    ['f4', 'f32'],
    ['f2', 'f16'],
    ['f8', 'f64'],
    ['i4', 'i32'],
    ['i8', 'i64'],
    ['u1', 'u8'],
    ['i1', 'i8'],
  ])('%s is %s, in the same bytes when written', (code, dtype) => {
    const tensor = readNpy(fixture(code));
    expect(tensor).toMatchObject({ dtype, shape: [2, 3, 4] });
    expect(numbers(tensor)).toEqual(count(24, dtype === 'u8' ? 0 : -3));
    expect(writeNpy(tensor)).toEqual(fixture(code));
  });

  test.each(['f4', 'f2', 'f8', 'i4', 'i8'])('big-endian %s is swapped', (code) => {
    expect(readNpy(fixture(`${code}-big`))).toEqual(readNpy(fixture(code)));
  });

  test('Fortran order becomes row-major order', () => {
    expect(readNpy(fixture('fortran'))).toEqual(readNpy(fixture('f4')));
    expect(readNpy(fixture('fortran-big'))).toEqual(
      hostTensor(BigInt64Array.from([-3n, -2n, -1n, 0n, 1n, 2n]), [3, 2]),
    );
  });

  test.each(['version-2', 'version-3'])('%s', (name) => {
    expect(readNpy(fixture(name))).toEqual(hostTensor(count(6), [2, 3]));
  });

  test.each([
    ['scalar', hostTensor(Float64Array.of(2.5), [])],
    ['vector', hostTensor(Int32Array.from(count(5)), [5])],
    ['empty', hostTensor([], [0, 3])],
  ])('%s, in the same bytes when written', (name, tensor) => {
    expect(readNpy(fixture(name))).toEqual(tensor);
    expect(writeNpy(tensor)).toEqual(fixture(name));
  });

  test.each([
    ['bool', "dtype '|b1' is not read, only f4, f2, f8, i4, i8, u1, i1: convert it with astype"],
    ['u2', "dtype '<u2' is not read"],
    ['complex', "dtype '<c8' is not read"],
    ['text', "dtype '<U2' is not read"],
    ['object', "dtype '|O' is not read, only f4, f2, f8, i4, i8, u1, i1: objects are pickled Python code"],
    ['structured', 'structured dtypes are not read: save each field by itself'],
  ])('%s is refused by name', (name, message) => refuse(fixture(`refused-${name}`), `npy: ${message}`));
});

describe('round trips', () => {
  test('every tensor comes back bit by bit', () => {
    fc.assert(
      fc.property(anyHostTensor(['f32', 'f16', 'f64', 'i32', 'i64', 'u8', 'i8']), (tensor) => {
        const bytes = writeNpy(tensor);
        expect(bitsOf(readNpy(bytes))).toEqual(bitsOf(tensor));
        expect(bytes.length - tensor.data.byteLength).toSatisfy((header: number) => header % 64 === 0);
      }),
    );
  });

  test('a file in the middle of memory, at any alignment', () => {
    const tensor = hostTensor(Float64Array.of(1, 2, 3), [3]);
    const bytes = writeNpy(tensor);
    for (let offset = 0; offset < 9; offset++) {
      const memory = new Uint8Array(bytes.length + 20);
      memory.set(bytes, offset);
      expect(readNpy(memory.subarray(offset, offset + bytes.length))).toEqual(tensor);
    }
  });

  test('aligned elements share the memory of the file', () => {
    const bytes = writeNpy(hostTensor([1, 2], [2]));
    expect(readNpy(bytes).data.buffer).toBe(bytes.buffer);
  });

  test('a header beyond 65535 bytes is written as version 2.0', () => {
    const tensor = hostTensor([7], new Array(30_000).fill(1));
    const bytes = writeNpy(tensor);
    expect([...bytes.subarray(6, 8)]).toEqual([2, 0]);
    expect(readNpy(bytes)).toEqual(tensor);
  });
});

describe('what cannot be written', () => {
  test('bf16, which npy does not have', () => {
    const write = () => writeNpy(hostTensor(Uint16Array.of(1), [1], 'bf16'));
    expect(write).toThrow(DTypeError);
    expect(write).toThrow('npy has no bf16: convert the tensor to f32 or write safetensors');
  });

  test('a rank whose header no reader would take', () => {
    const write = () => writeNpy(hostTensor([7], new Array(400_000).fill(1)));
    expect(write).toThrow(ParameterError);
    expect(write).toThrow('npy cannot hold a tensor of rank 400000');
  });

  test('data that is not what dtype and shape say', () => {
    const data = Float32Array.of(1, 2);
    expect(() => writeNpy({ dtype: 'f32', shape: [3], data })).toThrow('tensor: shape [3] needs 3 elements, got 2');
    expect(() => writeNpy({ dtype: 'i32', shape: [2], data } as unknown as HostTensor)).toThrow(
      'the data of tensor must be Int32Array for i32, got Float32Array',
    );
    expect(() => writeNpy(undefined as unknown as HostTensor)).toThrow('tensor must be a host tensor, got undefined');
  });
});

describe('hostile files', () => {
  const four = new Uint8Array(4);

  test.each([
    ['nothing', new Uint8Array(), 'not an npy file: its first bytes are not \\x93NUMPY'],
    ['another format', Uint8Array.from(Buffer.from('PK\x03\x04 and so on')), 'not an npy file'],
    ['a file cut within its version', npy('').subarray(0, 7), 'the file is cut short, after 7 bytes'],
    ['a file cut within its header length', npy('').subarray(0, 9), 'the file is cut short, after 9 bytes'],
    ['an unknown version', npy(dict('(1,)'), four, [4, 0]), 'expected npy version 1.0, 2.0 or 3.0, got 4.0'],
    ['a cut header', npy(dict('(1,)')).subarray(0, 40), 'the header takes 57 bytes, but only 30 follow'],
    ['a header of 4 GiB', Uint8Array.from([...npy('', four, [2, 0]).fill(0xff, 8, 12)]), 'the header takes 4294967295'],
    ['missing data', npy(dict('(2,)'), four), 'f32 of shape [2] takes 8 bytes, got 4 after the header'],
    ['too much data', npy(dict('()', '<f2'), four), 'f16 of shape [] takes 2 bytes, got 4 after the header'],
    ['an absurd shape', npy(dict('(1000000000, 1000000)'), four), 'f32 of shape [1000000000, 1000000] takes'],
    [
      'a shape beyond 2^53',
      npy(dict('(1000000000, 1000000000, 1000000000)'), four),
      'more elements than can be counted',
    ],
    ['an extent beyond 2^53', npy(dict('(99999999999999999999,)')), 'expected a non-negative integer below 2^53'],
    ['a negative extent', npy(dict('(-1,)')), 'expected a non-negative integer below 2^53 at character 51'],
    ['a fractional extent', npy(dict('(1.5,)')), 'got "1.5,), }"'],
    ['NaN as extent', npy(dict('(nan,)')), 'got "nan,), }"'],
    ['code as extent', npy(dict('(__import__("os"),)')), 'expected a non-negative integer'],
    ['no dict', npy('42'), 'expected { at character 0 of the header, got "42"'],
    ['an empty dict', npy('{}'), 'the header lacks descr and fortran_order and shape'],
    ['a missing field', npy("{'descr': '<f4', 'shape': ()}"), 'the header lacks fortran_order'],
    ['a field twice', npy("{'descr': '<f4', 'descr': '<f8'}"), "the header has 'descr' twice"],
    ['an unknown field', npy("{'__proto__': 1}"), "the header has an unknown field '__proto__'"],
    ['an order that is no boolean', npy("{'fortran_order': 1}"), 'expected True or False at character 18'],
    ['an open string', npy("{'descr': '<f4"), 'expected a string that ends'],
    ['a missing comma', npy("{'descr': '<f4' 'shape': ()}"), 'expected , or }'],
    ['something after the dict', npy(`${dict('()')} + 1`, four), 'expected the end of the header'],
    ['a byte order that is not said', npy(dict('()', '=f4'), four), "dtype '=f4' is not read"],
    ['deep nesting', npy('('.repeat(60_000)), 'expected { at character 0'],
    ['deep nesting as a shape', npy(dict('('.repeat(60_000))), 'expected a non-negative integer'],
  ])('%s', (_, bytes, message) => refuse(bytes, message));

  test('a message stays short whatever the file holds', () => {
    const rank = npy(dict(`(${'1, '.repeat(20_000)}2)`), four);
    refuse(rank, 'f32 of shape [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ... 20001 axes] takes 8 bytes');
    refuse(npy(dict('()', 'x'.repeat(60_000))), `dtype '${'x'.repeat(60)}...' is not read`);
  });

  test('what is not bytes', () => {
    expect(() => readNpy('x' as unknown as Uint8Array)).toThrow("file must be a Uint8Array or an ArrayBuffer, got 'x'");
  });
});
