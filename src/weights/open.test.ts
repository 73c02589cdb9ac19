import { copyFile, mkdir, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readSafetensors, writeSafetensors } from '../io';
import { safetensorsBeginning } from '../io/safetensors';
import { type HostTensor, hostTensor, toFloat64 } from '../tensor/host';
import { normal } from '../tensor/random';
import { BLOCKS } from './blocks';
import { encodeBlocks } from './encode-blocks';
import { openWeights, type WeightsLike, writeWeights } from './index';

const config = { model_type: 'llama' };
const tensors: Record<string, HostTensor> = {
  'layers.0.weight': hostTensor([1, -2, 3, 4, 5, 6], [3, 2], 'bf16'),
  'layers.1.weight': hostTensor([1, 2, 3, 4, 5, 6], [2, 3]),
  'layers.10.bias': hostTensor([7, 8], [2], 'i64'),
  scale: hostTensor([0.5], []),
};
const file = writeSafetensors(tensors, { metadata: { format: 'pt' } });

let root: string;
const at = (...path: string[]) => join(root, ...path);
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'saccade-'));
  await writeFile(at('one.safetensors'), file);
  await writeWeights(at('sharded'), tensors, { shardBytes: 20, config });
  await writeWeights(at('single'), tensors);
});
afterAll(() => rm(root, { recursive: true }));

/** A copy of the sharded folder, changed. */
async function changed(name: string, change: (index: { weight_map: Record<string, string> }) => Promise<void> | void) {
  await mkdir(at(name));
  const index = 'model.safetensors.index.json';
  const content = JSON.parse(await readFile(at('sharded', index), 'utf8'));
  for (const each of new Set(Object.values<string>(content.weight_map)))
    await copyFile(at('sharded', each), at(name, each));
  await change(content);
  await writeFile(at(name, index), JSON.stringify(content));
  return at(name);
}
const SHARDS = [1, 2, 3].map((number) => `model-0000${number}-of-00003.safetensors`) as [string, string, string];

test('the same tensors from bytes, Blobs, files and folders, alone and in shards', async () => {
  const files = await Promise.all(
    [...SHARDS, 'model.safetensors.index.json', 'config.json'].map(
      async (name) => new File([await readFile(at('sharded', name))], name),
    ),
  );
  const all: WeightsLike[] = [file, new Blob([file as Uint8Array<ArrayBuffer>]), at('one.safetensors'), files];
  const folders = [at('single'), at('sharded'), at('sharded', 'model.safetensors.index.json')];
  for (const from of [...all, ...folders, new URL(`file://${at('one.safetensors')}`)]) {
    const weights = await openWeights(from);
    expect(weights.format).toBe('safetensors');
    expect([...weights.tensors.keys()].sort()).toEqual(Object.keys(tensors).sort());
    expect(weights.metadata).toEqual({ format: 'pt' });
    for (const [name, host] of Object.entries(tensors)) {
      expect(weights.tensors.get(name)).toMatchObject({ type: host.dtype, shape: host.shape });
      expect(await weights.read(name)).toEqual(host);
    }
    expect(weights.config).toEqual(from === files || from === at('sharded') ? config : undefined);
    await weights.close();
  }
});

test('elements as another type, some rows of them, and names by prefix and glob', async () => {
  const weights = await openWeights(file);
  const { data } = await weights.read('layers.0.weight', { dtype: 'f32', rows: [1, 3] });
  expect([...data]).toEqual([3, 4, 5, 6]);
  expect(weights.select('layers.1')).toEqual(['layers.10.bias', 'layers.1.weight']);
  expect(weights.select('layers.*.w?ight')).toEqual(['layers.1.weight', 'layers.0.weight']);
  expect(weights.select('*a*l*e')).toEqual(['scale']);
  expect(weights.select('layers.1.weigh?t*')).toEqual([]);
  await expect(weights.read('none')).rejects.toThrow("the bytes has no tensor 'none'");
  await expect(weights.read('scale', { rows: [0, 1] })).rejects.toThrow('two axes or more');
  await expect(weights.readBlocks('scale')).rejects.toThrow("'scale' is f32, not quantised");
});

test.each(['q8_0', 'q4_0', 'q4_1', 'q4_k'] as const)('blocks of %s are written and read back', async (type) => {
  const shape = [4, 256];
  const numbers = normal(1024, 1);
  const bytes = encodeBlocks(type, numbers);
  const folder = at(type);
  await writeWeights(folder, { a: tensors.scale!, w: { type, shape, bytes } });
  const weights = await openWeights(folder);
  expect(weights.tensors.get('w')).toMatchObject({ type, shape });
  expect(weights.metadata).toEqual({ format: 'pt' });
  expect(await weights.readBlocks('w')).toEqual({ type, shape, bytes });
  const rows = await weights.readBlocks('w', { rows: [1, 3] });
  expect(rows.bytes).toEqual(
    bytes.slice((256 / BLOCKS[type].numbers) * BLOCKS[type].bytes).slice(0, rows.bytes.length),
  );
  const { dtype, data } = await weights.read('w');
  const error = toFloat64({ dtype, shape, data }).reduce((sum, value, i) => sum + (value - numbers[i]!) ** 2, 0);
  expect(dtype).toBe('f32');
  expect(Math.sqrt(error / 1024)).toBeLessThan(type === 'q8_0' ? 0.01 : 0.12);
  await weights.close();
});

test('what is larger than memory opens, and what the heap does not hold is not read', async () => {
  const tensor = { name: 'w', dtype: 'bf16', shape: [2 ** 15, 2 ** 16], byteLength: 2 ** 32 } as const;
  const beginning = safetensorsBeginning([tensor, { ...tensor, name: 'v' }], {});
  await writeFile(at('large'), beginning);
  await truncate(at('large'), beginning.length + 2 ** 33);
  const weights = await openWeights(at('large'));
  expect((await weights.read('v', { rows: [2 ** 15 - 1, 2 ** 15] })).data).toEqual(new Uint16Array(2 ** 16));
  await expect(weights.read('v', { dtype: 'f32' })).rejects.toThrow(
    `${at('large')}: 'v' takes 8.00 GiB as f32, and the heap holds 4.00 GiB: as bf16 it takes 4.00 GiB`,
  );
  await weights.close();
});

test('folders of which a part is missing, or from another model', async () => {
  const refusal = async (name: string, change: Parameters<typeof changed>[1]) => {
    const folder = await changed(name, change);
    return openWeights(folder).then(
      () => 'opened',
      (error) => `${error.name} ${error.message}`,
    );
  };
  const missing = await refusal('missing', () => rm(at('missing', SHARDS[1])));
  expect(missing).toContain(`ParseError ${at('missing')} lacks ${SHARDS[1]} of the 3 shards in`);
  const swapped = await refusal('swapped', () => copyFile(at('sharded', SHARDS[2]), at('swapped', SHARDS[0])));
  expect(swapped).toMatch(/model-00001-of-00003.safetensors has no tensor 'layers.0.weight': the shard is of another/);
  const twice = await refusal('twice', async ({ weight_map }) => {
    const more = { 'layers.0.weight': tensors['layers.0.weight']!, 'layers.1.weight': tensors['layers.1.weight']! };
    await writeFile(at('twice', weight_map['layers.0.weight']!), writeSafetensors(more));
  });
  expect(twice).toContain(`tensor 'layers.1.weight' is in ${SHARDS[0]} and in ${SHARDS[1]}`);
  const unlisted = await refusal('unlisted', ({ weight_map }) => void delete weight_map.scale);
  expect(unlisted).toContain("has a tensor 'scale' that the index does not list");
  const outside = await refusal('outside', ({ weight_map }) => {
    weight_map.scale = '../one.safetensors';
  });
  expect(outside).toContain("tensor 'scale' must be in a file of this folder, got '../one.safetensors'");
});

test('folders that were not written whole', async () => {
  await mkdir(at('begun'));
  await rename(await changed('half', () => {}), at('halved'));
  await rm(at('halved', 'model.safetensors.index.json'));
  await expect(openWeights(at('halved'))).rejects.toThrow(`has ${SHARDS[0]} but no index of such shards`);
  await expect(openWeights(at('begun'))).rejects.toThrow('has no weights: expected safetensors');
  await writeFile(at('begun', 'model.safetensors.unfinished'), file.subarray(0, 99));
  await expect(openWeights(at('begun'))).rejects.toThrow(
    'was not written whole: model.safetensors.unfinished is in it',
  );
  const failing = { type: 'f32', shape: [1], read: () => Promise.reject(new Error('cannot read on')) } as const;
  await expect(writeWeights(at('failed'), { a: tensors.scale!, failing })).rejects.toThrow('cannot read on');
  await expect(openWeights(at('failed'))).rejects.toThrow('an empty folder');
  const other = { type: 'f32', shape: [2], read: async () => tensors.scale! } as const;
  await expect(writeWeights(at('begun'), { other })).rejects.toThrow("'other' must be f32 [2], read() gave f32 []");
  await expect(writeWeights(at('single'), tensors)).rejects.toThrow('has model.safetensors already');
});

test('types that are not read are told', async () => {
  const header =
    '{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"F4","shape":[2,3],"data_offsets":[2,5]}}';
  const bytes = new Uint8Array(8 + header.length + 5);
  bytes[0] = header.length;
  bytes.set(new TextEncoder().encode(header), 8);
  const weights = await openWeights(bytes);
  expect([...weights.tensors.values()].map(({ type, byteLength }) => [type, byteLength])).toEqual([
    ['F8_E4M3', 2],
    ['F4', 3],
  ]);
  await expect(weights.read('a')).rejects.toThrow("the bytes: tensor 'a' has elements of type F8_E4M3: f32, ");
  expect(() => readSafetensors(bytes)).toThrow(
    "tensor 'a': expected dtype F32, F16, BF16, F64, I32, I64, U8, I8, got 'F8_E4M3'",
  );
});

test('files that are something else are called so', async () => {
  const is = async (content: string | Uint8Array, what: string) => {
    const bytes = typeof content === 'string' ? Uint8Array.from(content, (each) => each.charCodeAt(0)) : content;
    await expect(openWeights(bytes)).rejects.toThrow(what);
  };
  await is('', 'the bytes is empty');
  await is('<!doctype html><title>Not found</title>', 'is a web page');
  await is('{"error": "Repository not found"}', 'is JSON');
  await is('version https://git-lfs.github.com/spec/v1\noid sha256:0', 'is a Git LFS pointer');
  await is('\x1f\x8b\x08\0\0', 'is an archive (gzip): unpack it first');
  await is(`${'weights'.padEnd(257, '\0')}ustar`, 'is an archive (tar)');
  await is('7z\xbc\xaf\x27\x1c\0', 'is an archive (7z)');
  await is('hello world', "begins 'hello world'");
  await is(file.subarray(0, 50), 'the bytes: safetensors: the header takes');
});
