import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { Inflate, zipSync } from 'fflate';
import { describe, expect, test, vi } from 'vitest';
import { anyHostTensor, bitsOf } from '../../test/host-tensors';
import { type HostTensor, hostTensor, ParameterError, ParseError } from '../index';
import { normal } from '../tensor/random';
import { readNpz, writeNpy, writeNpz } from './index';

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../test/fixtures/${name}.npz`, import.meta.url)));

const one = writeNpy(hostTensor([1], [1]));
const zeros = (length: number) => writeNpy(hostTensor(new Uint8Array(length), [length]));

/** Bytes of the fields of an entry in the archive's directory, and how wide they are. */
const FIELDS = {
  flags: [8, 2],
  method: [10, 2],
  crc: [16, 4],
  compressedSize: [20, 4],
  size: [24, 4],
  offset: [42, 4],
  name: [46, 1],
} as const;

/** `archive` with fields of the directory entries changed, in their order. */
function forged(archive: Uint8Array, ...entries: Partial<Record<keyof typeof FIELDS, number>>[]): Uint8Array {
  const bytes = archive.slice();
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const changes of entries) {
    at = Buffer.from(bytes).indexOf('PK\x01\x02', at + 1, 'latin1');
    for (const [field, value] of Object.entries(changes)) {
      const [offset, width] = FIELDS[field as keyof typeof FIELDS];
      if (width === 4) view.setUint32(at + offset, value, true);
      else if (width === 2) view.setUint16(at + offset, value, true);
      else view.setUint8(at + offset, value);
    }
  }
  return bytes;
}

function refuse(bytes: Uint8Array, message: string, options?: { maxBytes: number }): void {
  const read = () => readNpz(bytes, options);
  expect(read).toThrow(ParseError);
  expect(read).toThrow(message);
}

describe('files that NumPy wrote', () => {
  test.each(['stored', 'stored-64', 'compressed', 'streamed'])('%s', (name) => {
    expect(readNpz(fixture(name))).toEqual({
      q: hostTensor([-3, -2, -1, 0, 1, 2], [2, 3]),
      'layer/w': hostTensor(new Float32Array(600), [20, 30]),
      größe: hostTensor(BigInt64Array.of(-3n, -2n, -1n), [3]),
    });
  });
});

describe('round trips', () => {
  const dtypes = ['f32', 'f16', 'f64', 'i32', 'i64', 'u8', 'i8'] as const;
  const names = fc.string({ minLength: 1, maxLength: 20, unit: 'binary' });

  test.each([false, true])('every tensor comes back bit by bit, compress = %s', (compress) => {
    fc.assert(
      fc.property(fc.dictionary(names, anyHostTensor(dtypes), { maxKeys: 5 }), (tensors) => {
        const read = readNpz(writeNpz(tensors, { compress }));
        expect(Object.keys(read).sort()).toEqual(Object.keys(tensors).sort());
        for (const [name, tensor] of Object.entries(tensors)) {
          expect(bitsOf(read[name] as HostTensor)).toEqual(bitsOf(tensor));
        }
      }),
      { numRuns: 50 },
    );
  });

  test('an archive whose end has its numbers with 64 bits only', () => {
    const bytes = fixture('stored-64');
    // How many entries there are, and where their directory is.
    bytes.fill(0xff, bytes.length - 12, bytes.length - 2);
    expect(readNpz(bytes)).toEqual(readNpz(fixture('stored')));
  });

  test('compression that takes several steps to undo', () => {
    const noise = new Uint8Array(normal(12_500, 1).buffer);
    const tensors = { zeros: hostTensor(new Float32Array(1e5), [1e5]), noise: hostTensor(noise, [50_000]) };
    const bytes = writeNpz(tensors, { compress: true });
    expect(bytes.length).toBeGreaterThan(40_000);
    expect(bytes.length).toBeLessThan(60_000);
    const read = readNpz(bytes);
    for (const name of ['zeros', 'noise'] as const)
      expect(bitsOf(read[name] as HostTensor)).toEqual(bitsOf(tensors[name]));
  });

  test('names with a suffix of their own, and those that objects treat specially', () => {
    const tensors = Object.fromEntries(['a', 'a.npy', '__proto__'].map((name) => [name, hostTensor([1], [1])]));
    expect(Object.keys(readNpz(writeNpz(tensors)))).toEqual(['a', 'a.npy', '__proto__']);
  });

  test('entries without the suffix are read by their full name', () => {
    expect(readNpz(zipSync({ weights: one }))).toEqual({ weights: hostTensor([1], [1]) });
  });

  test('a comment behind the archive is passed over', () => {
    const bytes = Uint8Array.from([...zipSync({ a: one }), ...Buffer.from('PK\x05\x06 hello')]);
    new DataView(bytes.buffer).setUint16(bytes.length - 12, 10, true);
    expect(readNpz(bytes)).toEqual({ a: hostTensor([1], [1]) });
  });

  test('no arrays at all', () => {
    expect(readNpz(writeNpz({}))).toEqual({});
  });

  test('bf16 cannot be written', () => {
    expect(() => writeNpz({ a: hostTensor(Uint16Array.of(1), [1], 'bf16') })).toThrow('npy has no bf16');
  });
});

describe('what a zip cannot hold', () => {
  const one = hostTensor(Uint8Array.of(1), [1]);

  test.each<[string, Record<string, HostTensor>, string]>([
    [
      'too many',
      Object.fromEntries(Array.from({ length: 65536 }, (_, i) => [i, one])),
      'up to 65535 tensors, got 65536',
    ],
    ['a long name', { ['ü'.repeat(40_000)]: one }, 'npz holds names of up to 65535 bytes, got 80004'],
    ['no name', { '': one }, "a tensor's name must be Unicode and not empty, got ''"],
  ])('%s', (_, tensors, message) => {
    expect(() => writeNpz(tensors)).toThrow(ParameterError);
    expect(() => writeNpz(tensors)).toThrow(message);
  });

  test('more than 4 GiB', () => {
    const large = { dtype: 'u8', shape: [2 ** 31], data: new Uint8Array(2 ** 31) } as const;
    expect(() => writeNpz({ a: large, b: large })).toThrow('npz holds up to 4 GiB');
  });
});

describe('hostile files', () => {
  const stored = writeNpz({ a: hostTensor([1], [1]), b: hostTensor([2], [1]) });
  const deflated = zipSync({ 'a.npy': zeros(1000) });

  test.each([
    ['nothing', new Uint8Array(), 'npz: not a zip archive, or cut short: its end record is missing'],
    ['another format', one, 'npz: not a zip archive, or cut short'],
    ['a cut archive', stored.subarray(0, -1), 'npz: not a zip archive, or cut short'],
    ['an encrypted entry', forged(stored, { flags: 1 }), "npz entry 'a.npy' is encrypted"],
    [
      'an unknown compression',
      forged(stored, { method: 12 }),
      "'a.npy' has compression method 12, only stored (0) and",
    ],
    ['a wrong checksum', forged(stored, {}, { crc: 7 }), "npz entry 'b.npy' is damaged: checksum 2"],
    ['a wrong checksum of compressed data', forged(deflated, { crc: 7 }), "npz entry 'a.npy' is damaged: checksum"],
    ['a 64-bit entry', forged(stored, { size: 0xffffffff }), "'a.npy' lacks its sizes with 64 bits"],
    [
      'a stored entry of two sizes',
      forged(stored, { size: 133 }),
      "'a.npy' is stored as it is, but declares 132 bytes for 133",
    ],
    ['the same name twice', forged(stored, {}, { name: 0x61 }), "npz: two entries are named 'a.npy'"],
    ['the same array twice', zipSync({ a: one, 'a.npy': one }), "npz: two entries hold 'a'"],
    ['a name that is not UTF-8', forged(stored, {}, { name: 0xff }), 'npz: the name of entry 1 is not UTF-8'],
    [
      'a local header that is not there',
      forged(stored, { offset: 3 }),
      "npz entry 'a.npy' has no local header at byte 3",
    ],
    [
      'a local header beyond the file',
      forged(stored, { offset: 4e9 }),
      "'a.npy' has no local header at byte 4000000000",
    ],
    [
      'entries that share their bytes',
      forged(stored, {}, { offset: 0 }),
      "npz entry 'b.npy' overlaps the entry before it",
    ],
    [
      'an entry that runs into the directory',
      forged(stored, {}, { size: 200, compressedSize: 200 }),
      "'b.npy' ends at byte",
    ],
    ['an entry that is no array', zipSync({ 'a.txt': Uint8Array.of(1, 2) }), "npz entry 'a.txt': not an npy file"],
    [
      'an array that ends early',
      zipSync({ a: one.subarray(0, -1) }),
      "npz entry 'a': f32 of shape [1] takes 4 bytes, got 3",
    ],
    ['damaged deflate data', zipSync({ a: zeros(10_000) }).fill(0xff, 31, 50), "npz entry 'a' is damaged: "],
  ])('%s', (_, bytes, message) => refuse(bytes, message));

  test('a directory of another length than it says', () => {
    const bytes = stored.slice();
    bytes[bytes.length - 12] = 3;
    refuse(bytes, 'npz: expected 3 entries in the directory, found 2');
    bytes[bytes.length - 6] = 0xff;
    refuse(bytes, 'does not fit before its end record');
  });

  test('a bomb that says what it is', () => {
    const bomb = zipSync({ a: zeros(2 ** 22) });
    expect(bomb.length).toBeLessThan(2 ** 13);
    refuse(bomb, 'npz: 4194432 bytes when decompressed, maxBytes allows 1000000', { maxBytes: 1e6 });
    const entry = { size: 300 * 2 ** 20, compressedSize: 300 * 2 ** 10 };
    refuse(forged(deflated, entry), 'npz: 314572800 bytes when decompressed, maxBytes allows 268435456');
    refuse(forged(deflated, { size: 2 ** 31 }), "'a.npy' declares 2147483648 bytes, more than 79 can expand to");
    expect(() => readNpz(bomb, { maxBytes: Number.NaN })).toThrow(ParameterError);
  });

  test('a bomb that lies', () => {
    const bomb = zipSync({ a: zeros(2 ** 24 + 1).subarray(0, -1) });
    refuse(forged(bomb, { size: 1000 }), "npz entry 'a' gives more than the 1000 bytes it declares");
    refuse(forged(bomb, { size: 2 ** 24 + 129 }), 'gives 16777344 of the 16777345 bytes it declares');
  });

  test('a bomb whose own header is modest, before it goes off', () => {
    const push = vi.spyOn(Inflate.prototype, 'push');
    const content = new Uint8Array(2 ** 22);
    content.set(one);
    refuse(zipSync({ a: content }), "npz entry 'a': f32 of shape [1] takes 4 bytes, got 4194176 after the header");
    refuse(zipSync({ a: new Uint8Array(2 ** 22) }), "npz entry 'a': not an npy file");
    const inflated = push.mock.calls.reduce((sum, [bytes]) => sum + bytes.length, 0);
    push.mockRestore();
    expect(inflated).toBeLessThanOrEqual(2 * 2 * 256);
  });

  test('a long tail behind the compressed data', () => {
    const tail = 2 ** 22;
    const archive = zipSync({ a: zeros(1872).subarray(0, 1128) });
    const directory = new DataView(archive.buffer).getUint32(archive.length - 6, true);
    const bytes = new Uint8Array(archive.length + tail);
    bytes.set(archive.subarray(0, directory));
    bytes.set(archive.subarray(directory), directory + tail);
    new DataView(bytes.buffer).setUint32(bytes.length - 6, directory + tail, true);
    refuse(
      forged(bytes, { compressedSize: tail, size: 2000 }),
      "npz entry 'a' gives 1128 of the 2000 bytes it declares",
    );
  });

  test('what is not bytes', () => {
    expect(() => readNpz([] as unknown as Uint8Array)).toThrow('file must be a Uint8Array or an ArrayBuffer, got []');
  });
});
