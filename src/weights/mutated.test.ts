/**
 * Files with changes: they open and can be read, or are refused by an error that names the file. `SACCADE_MUTATIONS=20000` tries so
 * many of each format, `SACCADE_SEED` others.
 */
import { expect, test } from 'vitest';
import { SaccadeError } from '../errors';
import { writeSafetensors } from '../io';
import { hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import { encodeBlocks } from './encode-blocks';
import { openWeights } from './index';

const COUNT = Number(process.env.SACCADE_MUTATIONS ?? 300);
const SEED = Number(process.env.SACCADE_SEED ?? 1);

const bytes = encodeBlocks('q4_k', normal(512, 1));
const blocks = JSON.stringify({ w: { type: 'q4_k', shape: [2, 256] } });
const one = writeSafetensors(
  {
    w: hostTensor(bytes, [2, 144]),
    'a.weight': hostTensor([1, 2, 3, 4], [2, 2], 'bf16'),
    b: hostTensor([5], [1], 'i64'),
  },
  { metadata: { format: 'pt', 'saccade.blocks': blocks } },
);
const shards = [
  writeSafetensors({ a: hostTensor([1, 2], [2]) }),
  writeSafetensors({ b: hostTensor([3], []), c: hostTensor([4], [1, 1]) }),
];
const map = { a: 'm-00001-of-00002.safetensors', b: 'm-00002-of-00002.safetensors', c: 'm-00002-of-00002.safetensors' };
const index = new TextEncoder().encode(JSON.stringify({ metadata: { total_size: 16 }, weight_map: map }, undefined, 1));

/** Files by their names, of which one is changed at a time. */
const FORMATS: Readonly<Record<string, Readonly<Record<string, Uint8Array>>>> = {
  safetensors: { 'model.safetensors': one },
  'an index and its shards': {
    'm.safetensors.index.json': index,
    'm-00001-of-00002.safetensors': shards[0]!,
    'm-00002-of-00002.safetensors': shards[1]!,
  },
};

/** Integers from 0 up to a limit, from a seed. */
function integers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return ((state ^ (state >>> 13)) >>> 0) % limit;
  };
}

/** Some bytes set, cut out, repeated, or numbers of the header replaced by others that mean trouble. */
function mutated(file: Uint8Array, below: (limit: number) => number): Uint8Array {
  const kind = below(4);
  const [from, length] = [below(file.length + 1), below(20)];
  if (kind === 0) return Uint8Array.from([...file.subarray(0, from), ...file.subarray(from + length)]);
  if (kind === 1) return Uint8Array.from([...file.subarray(0, from + length), ...file.subarray(from)]);
  if (kind === 2) {
    const changed = file.slice();
    for (let i = 0; i <= below(4); i++) changed[below(file.length)] = below(256);
    return changed;
  }
  const text = Array.from(file, (byte) => String.fromCharCode(byte)).join('');
  const places = [...text.matchAll(/\d+|"[\w.-]+"/g)];
  const place = places[below(places.length)]!;
  const others = [
    '0',
    '-1',
    '1e9',
    '9007199254740993',
    '9223372036854775808',
    '[]',
    '{}',
    'null',
    '"__proto__"',
    '"a"',
  ];
  const replaced =
    text.slice(0, place.index) + others[below(others.length)] + text.slice(place.index + place[0].length);
  const changed = Uint8Array.from(replaced, (each) => each.charCodeAt(0));
  // As long as the header is said to be, so that the change is seen.
  if (file !== index)
    new DataView(changed.buffer).setUint32(0, file[0]! + 256 * file[1]! + changed.length - file.length, true);
  return changed;
}

test.each(Object.entries(FORMATS))(
  '%s',
  async (_, files) => {
    const below = integers(SEED);
    const names = Object.keys(files);
    let opened = 0;
    for (let i = 0; i < COUNT; i++) {
      const chosen = names[below(names.length)]!;
      const contents = { ...files, [chosen]: mutated(files[chosen]!, below) };
      const given = names.map((name) => new File([contents[name] as Uint8Array<ArrayBuffer>], name));
      try {
        const weights = await openWeights(given);
        for (const [name, { shape }] of weights.tensors) expect((await weights.read(name)).shape).toEqual(shape);
        opened++;
      } catch (error) {
        if (!(error instanceof SaccadeError)) throw error;
        const isNamed = [...names, 'the files'].some((name) => error.message.includes(name));
        expect(isNamed ? '' : error.message).toBe('');
        expect(error.message.length).toBeLessThan(600);
      }
    }
    // Elements may change, and nobody can tell; headers may not.
    expect(opened).toBeGreaterThan(COUNT / 50);
    expect(opened).toBeLessThan(COUNT / 1.1);
  },
  10_000 + 10 * COUNT,
);
