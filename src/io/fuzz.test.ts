import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyHostTensor } from '../../test/host-tensors';
import { type HostTensor, hostTensor, ParseError } from '../index';
import { readNpy, readNpz, readSafetensors, writeNpy, writeNpz, writeSafetensors } from './index';

const dtypes = ['f32', 'f16', 'f64', 'i32', 'i64', 'u8', 'i8'] as const;
const tensors = fc.dictionary(fc.string({ minLength: 1 }), anyHostTensor(dtypes), { maxKeys: 3 });

const formats: readonly [name: string, files: fc.Arbitrary<Uint8Array>, read: (bytes: Uint8Array) => unknown][] = [
  ['npy', anyHostTensor(dtypes).map(writeNpy), readNpy],
  ['npz', tensors.map((named) => writeNpz(named)), readNpz],
  ['compressed npz', tensors.map((named) => writeNpz(named, { compress: true })), readNpz],
  ['safetensors', tensors.map(writeSafetensors), readSafetensors],
];

/** Reads `bytes`, or fails with a ParseError of one short line; anything else fails the test. */
function readsOrRefuses(read: (bytes: Uint8Array) => unknown, bytes: Uint8Array): 'read' | 'refused' {
  try {
    const result = read(bytes) as HostTensor | Record<string, HostTensor>;
    for (const { dtype, shape, data } of ArrayBuffer.isView(result.data)
      ? [result as HostTensor]
      : Object.values(result)) {
      hostTensor(data, shape, dtype);
    }
    return 'read';
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    expect(error.message).toMatch(/^.{10,500}$/);
    return 'refused';
  }
}

describe.each(formats)('%s', (_, files, read) => {
  test('a file reads the same from a Buffer in the middle of memory, at any alignment', () => {
    fc.assert(
      fc.property(files, fc.nat({ max: 15 }), (file, offset) => {
        const memory = Buffer.alloc(file.length + 20, 0xa5);
        memory.set(file, offset);
        expect(read(memory.subarray(offset, offset + file.length))).toEqual(read(file));
      }),
      { numRuns: 50 },
    );
  });

  test('bytes changed at random: read, or refused with a ParseError', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(files, changes, (file, changes) => {
        const bytes = file.slice();
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        readsOrRefuses(read, bytes);
      }),
      { numRuns: 2000 },
    );
  });

  test('stretches removed, repeated or moved: read, or refused with a ParseError', () => {
    fc.assert(
      fc.property(files, fc.nat(), fc.nat(), fc.nat(), (file, a, b, c) => {
        const [from, to, at] = [a, b, c].map((position) => position % (file.length + 1)) as [number, number, number];
        readsOrRefuses(
          read,
          Uint8Array.from([...file.subarray(0, at), ...file.subarray(from, to), ...file.subarray(at)]),
        );
        readsOrRefuses(read, Uint8Array.from([...file.subarray(0, from), ...file.subarray(at)]));
      }),
      { numRuns: 500 },
    );
  });

  test('a file cut anywhere is refused', () => {
    fc.assert(
      fc.property(files, (file) => {
        for (let length = 0; length < file.length; length++) {
          expect(readsOrRefuses(read, file.subarray(0, length))).toBe('refused');
        }
      }),
      { numRuns: 10 },
    );
  });

  test('random bytes are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(readsOrRefuses(read, bytes)).toBe('refused');
      }),
    );
  });
});
