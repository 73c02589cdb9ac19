import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyHostTensor, bitsOf } from '../../test/host-tensors';
import { DTypeError, type HostTensor, hostTensor, ParameterError, ParseError, ShapeError } from '../index';
import {
  readNpy,
  readNpz,
  readSafetensors,
  readSafetensorsMetadata,
  writeNpy,
  writeNpz,
  writeSafetensors,
} from './index';

/** A safetensors file with this header, as text or as JSON. */
function file(header: string | object, dataBytes = 0): Uint8Array {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({
  dtype: 'F32',
  shape,
  data_offsets: [begin, end],
});

function refuse(bytes: Uint8Array, message: string): void {
  const read = () => readSafetensors(bytes);
  expect(read).toThrow(ParseError);
  expect(read).toThrow(/^safetensors: /);
  expect(read).toThrow(message);
}

const headerOf = (bytes: Uint8Array) => {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  return new TextDecoder().decode(bytes.subarray(8, 8 + length));
};

describe('reading', () => {
  test('a file byte by byte as the format describes it', () => {
    const header = '{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}} ';
    const bytes = Uint8Array.from([header.length, 0, 0, 0, 0, 0, 0, 0, ...Buffer.from(header), 5, 0xff]);
    expect(readSafetensors(bytes)).toEqual({ a: hostTensor(Int8Array.of(5, -1), [2]) });
  });

  test('metadata is read by itself, white space and any order of fields are fine', () => {
    const header = ` "__metadata__" : {"format":"pt", "a": "b"},\n"x":{"data_offsets":[0,4],"shape":[ ],"dtype":"F32"} `;
    expect(readSafetensors(file(`{${header}}  `, 4))).toEqual({ x: hostTensor([0], []) });
    expect(readSafetensorsMetadata(file(`{${header}}  `, 4))).toEqual({ format: 'pt', a: 'b' });
    const metadata = { 'é "': '\n\u2028', '': '' };
    const written = writeSafetensors({ a: hostTensor([1], [1]) }, { metadata });
    expect(readSafetensorsMetadata(written)).toEqual(metadata);
    expect(readSafetensors(written)).toEqual({ a: hostTensor([1], [1]) });
    expect(() => writeSafetensors({}, { metadata: { a: '\ud800' } })).toThrow(
      "metadata must be Unicode by name, got '\\ud800' of 'a'",
    );
  });

  test('no tensors, scalars and empty tensors', () => {
    expect(readSafetensors(file({}))).toEqual({});
    const header = { none: f32(4, 4, [0, 7]), one: f32(0, 4, []), void: f32(4, 4, [3, 0]) };
    expect(readSafetensors(file(header, 4))).toEqual({
      none: hostTensor([], [0, 7]),
      one: hostTensor([0], []),
      void: hostTensor([], [3, 0]),
    });
  });

  test('elements that lie unaligned are copied, aligned ones share the memory of the file', () => {
    const header = {
      byte: { dtype: 'U8', shape: [1], data_offsets: [0, 1] },
      wide: { dtype: 'F64', shape: [2], data_offsets: [1, 17] },
    };
    const source = file(header, 17);
    source.set(new Uint8Array(Float64Array.of(1.5, -2).buffer), source.length - 16);
    for (let offset = 0; offset < 8; offset++) {
      const memory = new Uint8Array(source.length + 8);
      memory.set(source, offset);
      const { byte, wide } = readSafetensors(memory.subarray(offset, offset + source.length));
      expect(wide).toEqual(hostTensor(Float64Array.of(1.5, -2), [2]));
      expect(byte?.data.buffer).toBe(memory.buffer);
    }
  });

  test('names that JavaScript objects treat specially', () => {
    const tensors = Object.fromEntries(
      ['__proto__', 'constructor', '0', 'ü "\\\n'].map((n) => [n, hostTensor([1], [1])]),
    );
    const read = readSafetensors(writeSafetensors(tensors));
    expect(Object.keys(read).sort()).toEqual(Object.keys(tensors).sort());
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype);
  });
});

describe('writing', () => {
  test('every tensor comes back bit by bit', () => {
    const names = fc.string({ minLength: 1, unit: 'binary' }).filter((name) => name !== '__metadata__');
    fc.assert(
      fc.property(fc.dictionary(names, anyHostTensor(), { maxKeys: 6 }), (tensors) => {
        const read = readSafetensors(writeSafetensors(tensors));
        expect(Object.keys(read).sort()).toEqual(Object.keys(tensors).sort());
        for (const [name, tensor] of Object.entries(tensors)) {
          expect(bitsOf(read[name] as HostTensor)).toEqual(bitsOf(tensor));
        }
      }),
    );
  });

  test('the bytes do not depend on the order of the tensors, and every tensor is aligned', () => {
    const tensors = fc.dictionary(fc.string({ minLength: 1 }), anyHostTensor(), { minKeys: 2, maxKeys: 6 });
    fc.assert(
      fc.property(tensors, (tensors) => {
        const bytes = writeSafetensors(tensors);
        expect(writeSafetensors(Object.fromEntries(Object.entries(tensors).reverse()))).toEqual(bytes);
        for (const { data } of Object.values(readSafetensors(bytes))) expect(data.buffer).toBe(bytes.buffer);
      }),
    );
  });

  test('the header: wide elements first, then by name, padded so that the data begins at a multiple of 8', () => {
    const bytes = writeSafetensors({
      c: hostTensor(Int8Array.of(1), [1]),
      b: hostTensor([1], []),
      a: hostTensor([2], []),
    });
    expect(headerOf(bytes).trimEnd()).toBe(
      '{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[],"data_offsets":[4,8]},' +
        '"c":{"dtype":"I8","shape":[1],"data_offsets":[8,9]}}',
    );
    expect((bytes.length - 9) % 8).toBe(0);
    expect([...bytes.subarray(-9)]).toEqual([0, 0, 0, 0x40, 0, 0, 0x80, 0x3f, 1]);
  });

  test('names and tensors that the format cannot hold', () => {
    const one = hostTensor([1], [1]);
    const refuses = (tensors: Record<string, HostTensor>, type: new () => Error, message: string) => {
      expect(() => writeSafetensors(tensors)).toThrow(type);
      expect(() => writeSafetensors(tensors)).toThrow(message);
    };
    refuses({ __metadata__: one }, ParameterError, 'a tensor cannot be named __metadata__: safetensors reserves it');
    refuses({ '': one }, ParameterError, "a tensor's name must be Unicode and not empty, got ''");
    refuses({ '\ud800': one }, ParameterError, "a tensor's name must be Unicode and not empty, got '\\ud800'");
    refuses({ a: { ...one, shape: [2] } }, ShapeError, "tensor 'a': shape [2] needs 2 elements, got 1");
    refuses({ a: { ...one, dtype: 'f99' } as unknown as HostTensor }, DTypeError, "tensor 'a' must be one of f32,");
    refuses(null as unknown as Record<string, HostTensor>, ParameterError, 'tensors must be an object of host tensors');
  });
});

describe('hostile files', () => {
  const huge = (length: bigint) => {
    const bytes = file({});
    new DataView(bytes.buffer).setBigUint64(0, length, true);
    return bytes;
  };

  test.each([
    ['nothing', new Uint8Array(), 'expected at least 8 bytes, got 0'],
    ['a cut length', new Uint8Array(7), 'expected at least 8 bytes, got 7'],
    [
      'a header of 2^60 bytes',
      huge(2n ** 60n),
      'the header takes 1152921504606846976 bytes, the format allows 100000000',
    ],
    ['a header of 2^64 - 1 bytes', huge(2n ** 64n - 1n), 'the header takes 18446744073709551615 bytes'],
    ['a cut header', huge(3n), 'the header takes 3 bytes, but only 2 follow'],
    ['an empty header', file(''), 'the header must begin with {'],
    ['another format', file('PK'), 'the header must begin with {'],
    ['white space before the header', file(' {}'), 'the header must begin with {'],
    ['a header that is not UTF-8', file('{"\u00e9').fill(0xff, 10), 'the header is not UTF-8'],
    ['a header that is not JSON', file('{]'), 'expected a string at character 1 of the header, got "]"'],
    ['an open header', file('{'), 'expected a string at character 1 of the header, got its end'],
    ['an open string', file('{"a'), 'expected a string that ends at character 1'],
    ['a string that ends in an escape', file('{"a\\"'), 'expected a string that ends'],
    ['an unknown escape', file('{"\\x41":1}'), "the header holds an invalid string '\\\\x41'"],
    ['a control character', file('{"\n":1}'), "the header holds an invalid string '\\n'"],
    ['half a surrogate pair', file('{"\\ud800":1}'), "the header holds an invalid string '\\\\ud800'"],
    ['a comma at the end', file('{"__metadata__":{},}'), 'expected a string at character 19'],
    ['a missing comma', file('{"__metadata__":{} "a"'), 'expected , or } at character 19'],
    ['something after the header', file('{} {}'), 'expected the end of the header at character 3'],
    ['bytes after the last tensor', file({ a: f32(0, 4) }, 5), '5 bytes follow the header, but the tensors end at 4'],
    ['bytes without a tensor', file({}, 1), '1 bytes follow the header, but the tensors end at 0'],
    ['metadata that is not text', file('{"__metadata__":{"a":1}}'), 'expected a string at character 21'],
    ['nested JSON', file(`{"a":${'['.repeat(1e6)}`), 'expected { at character 5'],
    ['nested objects', file('{"a":'.repeat(1e5)), "tensor 'a' has an unknown field 'a'"],
    ['nesting in a shape', file(`{"a":{"shape":${'['.repeat(1e6)}`), 'expected a non-negative integer below 2^53'],
  ])('%s', (_, bytes, message) => refuse(bytes, message));

  test.each([
    ['no object', 1, 'expected { at character 5 of the header, got "1}"'],
    ['no fields', {}, "tensor 'a' lacks dtype and shape and data_offsets"],
    ['no offsets', { dtype: 'F32', shape: [] }, "tensor 'a' lacks data_offsets"],
    ['an unknown field', { ...f32(0, 4), more: 1 }, "tensor 'a' has an unknown field 'more'"],
    [
      'an unknown dtype',
      { ...f32(0, 4), dtype: 'F8' },
      "tensor 'a': expected dtype F32, F16, BF16, F64, I32, I64, U8, I8, got 'F8'",
    ],
    ['a dtype of Object', { ...f32(0, 4), dtype: 'constructor' }, "tensor 'a': expected dtype F32"],
    ['a dtype in lower case', { ...f32(0, 4), dtype: 'f32' }, "got 'f32'"],
    ['a dtype that is a number', { ...f32(0, 4), dtype: 3 }, 'expected a string'],
    [
      'one offset',
      { ...f32(0, 4), data_offsets: [4] },
      "tensor 'a' must have data_offsets [begin, end], got 1 of them",
    ],
    ['three offsets', { ...f32(0, 4), data_offsets: [0, 4, 4] }, 'got 3 of them'],
    [
      'a negative offset',
      f32(-4, 0),
      "'data_offsets' of tensor 'a': expected a non-negative integer below 2^53 at character 48 of the header, got \"-4,0]}}\"",
    ],
    [
      'offsets in reverse',
      { ...f32(4, 0), shape: [1] },
      "tensor 'a': F32 of shape [1] takes 4 bytes, got data_offsets [4, 0]",
    ],
    [
      'too few bytes',
      { ...f32(0, 4), shape: [2] },
      "tensor 'a': F32 of shape [2] takes 8 bytes, got data_offsets [0, 4]",
    ],
    [
      'an absurd shape',
      { ...f32(0, 4), shape: [1e9, 1e9, 1e9] },
      "tensor 'a': shape [1000000000, 1000000000, 1000000000] has more elements than can be counted",
    ],
    ['a shape that overflows to 0', { ...f32(0, 0), shape: [2 ** 32, 2 ** 32] }, 'more elements than can be counted'],
    ['a shape of many axes', { ...f32(0, 4), shape: new Array(1e5).fill(2) }, '... 100000 axes] has more elements'],
    ['bytes that overflow', { ...f32(0, 4), shape: [2 ** 52] }, 'takes 18014398509481984 bytes'],
    [
      'offsets beyond the file',
      f32(0, 2 ** 40),
      "tensor 'a' lies at bytes 0 to 1099511627776, but only 4 follow the header",
    ],
    ['a fractional extent', { ...f32(0, 4), shape: [1.5] }, 'got "1.5],'],
    ['an infinite extent', '{"dtype":"F32","shape":[Infinity]', 'got "Infinity]'],
    ['NaN', '{"dtype":"F32","shape":[NaN]', 'expected a non-negative integer'],
    ['null', { ...f32(0, 4), shape: [null] }, "safetensors: 'shape' of tensor 'a': expected a non-negative integer"],
    ['an exponent', '{"dtype":"F32","shape":[1e0]', 'expected a non-negative integer'],
    ['a leading zero', '{"dtype":"F32","shape":[01]', 'expected a non-negative integer'],
    ['an offset beyond 2^53', '{"data_offsets":[0,18446744073709551616]', 'expected a non-negative integer below 2^53'],
  ])('a tensor with %s', (_, tensor, message) => {
    refuse(file(typeof tensor === 'string' ? `{"a":${tensor}` : { a: tensor }, 4), message);
  });

  test('tensors that overlap, leave a hole or lie out of order', () => {
    refuse(
      file({ a: f32(0, 8), b: f32(4, 12) }, 12),
      "tensor 'b' lies at bytes 4 to 12, which overlaps the tensor that ends at 8",
    );
    refuse(file({ a: f32(0, 4), b: f32(0, 4) }, 4), "tensor 'b' lies at bytes 0 to 4, which overlaps");
    refuse(file({ a: f32(0, 8), b: f32(4, 4) }, 8), "tensor 'b' lies at bytes 4 to 4, which overlaps");
    refuse(file({ a: f32(0, 4), b: f32(8, 12) }, 12), "tensor 'b' lies at bytes 8 to 12, which leaves a hole from 4");
    refuse(file({ a: f32(4, 8) }, 8), "tensor 'a' lies at bytes 4 to 8, which leaves a hole from 0");
    expect(Object.keys(readSafetensors(file({ b: f32(4, 12), a: f32(0, 4) }, 12)))).toEqual(['b', 'a']);
  });

  test('a name or field that comes twice, which JSON.parse would hide', () => {
    const a = JSON.stringify(f32(0, 4));
    refuse(file(`{"a":${a},"a":${a}}`, 4), "the header has 'a' twice");
    refuse(file(`{"a":${a},"\\u0061":${a}}`, 4), "the header has 'a' twice");
    refuse(file(`{"a":{"dtype":"F32","dtype":"F32"}}`, 4), "tensor 'a' has 'dtype' twice");
    refuse(file('{"__metadata__":{"a":"","a":""}}'), "__metadata__ has 'a' twice");
    refuse(file('{"__metadata__":{},"__metadata__":{}}'), "the header has '__metadata__' twice");
  });

  test('a message stays short and on one line whatever the names hold', () => {
    refuse(file({ ['x\n'.repeat(5000)]: {} }), `tensor '${'x\\n'.repeat(30)}...' lacks`);
  });

  test('what is not bytes', () => {
    expect(() => readSafetensors(null as unknown as Uint8Array)).toThrow(
      'file must be a Uint8Array or an ArrayBuffer, got null',
    );
  });
});

describe('what fetch gives', () => {
  const file = writeSafetensors({ a: hostTensor([1, 2], [2]) });
  const text = (words: string) => new TextEncoder().encode(words);

  test('an ArrayBuffer is read as its bytes are', () => {
    expect(readSafetensors(file.slice().buffer)).toEqual(readSafetensors(file));
    const npy = writeNpy(hostTensor([1, 2], [2]));
    expect(readNpy(npy.slice().buffer)).toEqual(readNpy(npy));
    const npz = writeNpz({ a: hostTensor([1, 2], [2]) });
    expect(readNpz(npz.slice().buffer)).toEqual(readNpz(npz));
  });

  test.each([
    ['a web page', '<!DOCTYPE html>\n<title>404</title>'],
    ['a web page', '\n <html lang="en">'],
    ['a web page', '<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>'],
    ['JSON', '{"error":"Entry not found"}'],
  ])('%s is named as one by every reader: %s', (what, words) => {
    for (const read of [readSafetensors, readNpy, readNpz]) {
      expect(() => read(text(words))).toThrow(ParseError);
      expect(() => read(text(words))).toThrow(`the file is ${what}, it begins`);
      expect(() => read(text(words).buffer)).toThrow('look at the status of the response and at its address');
    }
  });

  test('a header whose length begins like JSON is still one', () => {
    // 0x227b bytes: the characters {" and zeros.
    const header = new TextEncoder().encode('{}'.padEnd(0x227b));
    const bytes = new Uint8Array(8 + header.length);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
    bytes.set(header, 8);
    expect(readSafetensors(bytes)).toEqual({});
  });
});
