import { readFileSync } from 'node:fs';
import { unzipSync, zipSync } from 'fflate';
import { expect, inject, test } from 'vitest';
import configs from '../../test/fixtures/decoder.json';
import { ggufOfDecoder } from '../../test/gguf-of-decoder';
import { mutated, mutationCount } from '../../test/mutations';
import { ParseError } from '../errors';
import { readSafetensors, writeSafetensors } from '../io';
import { hostTensor } from '../tensor/host';
import { normal, uniformGenerator } from '../tensor/random';
import { encodeBlocks } from './encode-blocks';
import { openWeights } from './open';

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`../../test/fixtures/${name}`, import.meta.url)));

const fileOf = (bytes: Uint8Array, name = 'x.bin') => new File([bytes as Uint8Array<ArrayBuffer>], name);

/** Opens a file, or a folder of them, and reads all of it; false if it is refused. Anything but a ParseError that names it fails. */
async function reads(given: Uint8Array | readonly File[]): Promise<boolean> {
  try {
    await using weights = await openWeights(given instanceof Uint8Array ? fileOf(given) : given);
    for (const name of weights.tensors.keys()) await weights.read(name);
    for (const value of Object.values(weights.metadata)) expect(value).not.toBeUndefined();
    return true;
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    expect(error.message).toMatch(/^(x\.|the files).{5,500}$/);
    return false;
  }
}

type Mutate = (random: () => number) => Uint8Array | readonly File[];

function gguf(): Mutate {
  const prefix = 'llama/weights/';
  const tensors = readSafetensors(fixture('decoder.safetensors'));
  const own = Object.entries(tensors).flatMap(([name, host]) =>
    name.startsWith(prefix) ? [[name.slice(prefix.length), host] as const] : [],
  );
  const file = ggufOfDecoder(configs.llama, Object.fromEntries(own), {
    'tokenizer.ggml.tokens': [9, [8, ['a', 'b', 'c']]],
    'tokenizer.ggml.scores': [9, [6, [1, 2, 3]]],
    nested: [
      9,
      [
        9,
        [
          [4, [1]],
          [8, ['b']],
        ],
      ],
    ],
  });
  // What is before the elements: else most faults are in these.
  const header = file.subarray(0, file.indexOf(0x80, 2000) + 1);
  return (random) =>
    random() < 0.2
      ? mutated(file, random)
      : new Uint8Array([...mutated(header, random), ...file.subarray(header.length)]);
}

/** Faults of the archive, or of the pickle within it, whose checksum would give them away. */
function zip(): Mutate {
  const file = fixture('checkpoint.pth');
  const { 'checkpoint/data.pkl': pickle, ...others } = unzipSync(file) as Record<string, Uint8Array> & {
    'checkpoint/data.pkl': Uint8Array;
  };
  const name = 'checkpoint/data.pkl';
  return (random) =>
    random() < 0.3 ? mutated(file, random) : zipSync({ [name]: mutated(pickle, random), ...others }, { level: 0 });
}

/** Faults anywhere, or a name or number of JSON that is another, for which its header is as long as it says. */
function withJson(file: Uint8Array, random: () => number, hasHeader: boolean): Uint8Array {
  if (random() < 0.6) return mutated(file, random);
  const text = Array.from(file, (byte) => String.fromCharCode(byte)).join('');
  const places = [...text.matchAll(/\d+|"[\w.-]+"/g)];
  const { index, 0: found } = places[Math.floor(random() * places.length)]!;
  const others = ['0', '-1', '1e9', '9007199254740993', '9223372036854775808', '[]', 'null', '"__proto__"', '"a"'];
  const changed = `${text.slice(0, index)}${others[Math.floor(random() * others.length)]}${text.slice(index + found.length)}`;
  const bytes = Uint8Array.from(changed, (each) => each.charCodeAt(0));
  const length = new DataView(file.buffer, file.byteOffset).getUint32(0, true) + bytes.length - file.length;
  if (hasHeader) new DataView(bytes.buffer).setUint32(0, length, true);
  return bytes;
}

function safetensors(): Mutate {
  const file = writeSafetensors(
    {
      w: hostTensor(encodeBlocks('q4_k', normal(512, 1)), [2, 144]),
      'a.weight': hostTensor([1, 2, 3, 4], [2, 2], 'bf16'),
      b: hostTensor([5], [1], 'i64'),
    },
    { metadata: { format: 'pt', 'saccade.blocks': JSON.stringify({ w: { type: 'q4_k', shape: [2, 256] } }) } },
  );
  return (random) => withJson(file, random, true);
}

function sharded(): Mutate {
  const [first, second] = ['x.1.safetensors', 'x.2.safetensors'];
  const map = JSON.stringify({ metadata: { total_size: 16 }, weight_map: { a: first, b: second, c: second } });
  const files: readonly [string, Uint8Array][] = [
    ['x.safetensors.index.json', new TextEncoder().encode(map)],
    [first, writeSafetensors({ a: hostTensor([1, 2], [2]) })],
    [second, writeSafetensors({ b: hostTensor([3], []), c: hostTensor([4], [1, 1]) })],
  ];
  return (random) => {
    const chosen = Math.floor(random() * files.length);
    return files.map(([name, bytes], at) => fileOf(at === chosen ? withJson(bytes, random, at > 0) : bytes, name));
  };
}

test.each<[string, Mutate]>([
  ['safetensors', safetensors()],
  ['safetensors in shards', sharded()],
  ['GGUF', gguf()],
  ['PyTorch', zip()],
  ['old PyTorch', (random) => mutated(fixture('checkpoint-old.pth'), random)],
])(
  'damaged files of %s are read, or refused by name',
  async (_, mutate) => {
    const random = uniformGenerator(inject('seed'));
    const count = mutationCount(150);
    let refused = 0;
    for (let at = 0; at < count; at++) if (!(await reads(mutate(random)))) refused++;
    expect(refused).toBeGreaterThan(count / 4);
    expect(refused).toBeLessThan(count);
  },
  600_000,
);
