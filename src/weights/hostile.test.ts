import { readFileSync } from 'node:fs';
import { unzipSync, zipSync } from 'fflate';
import { expect, inject, test } from 'vitest';
import configs from '../../test/fixtures/decoder.json';
import { ggufOfDecoder } from '../../test/gguf-of-decoder';
import { mutated, mutationCount } from '../../test/mutations';
import { ParseError } from '../errors';
import { readSafetensors } from '../io';
import { uniformGenerator } from '../tensor/random';
import { openWeights } from './open';

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`../../test/fixtures/${name}`, import.meta.url)));

/** Opens a file and reads all of it; false if it is refused. Anything but a ParseError that names the file fails. */
async function reads(bytes: Uint8Array): Promise<boolean> {
  try {
    await using weights = await openWeights(new File([bytes as Uint8Array<ArrayBuffer>], 'x.bin'));
    for (const name of weights.tensors.keys()) await weights.read(name);
    for (const value of Object.values(weights.metadata)) expect(value).not.toBeUndefined();
    return true;
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    expect(error.message).toMatch(/^x\.bin.{5,500}$/);
    return false;
  }
}

type Mutate = (random: () => number) => Uint8Array;

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

test.each<[string, Mutate]>([
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
