import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { relativeError } from '../../test/describe-method';
import configs from '../../test/fixtures/decoder.json';
import { ggufOfDecoder } from '../../test/gguf-of-decoder';
import { readSafetensors, writeSafetensors } from '../io';
import { type HostTensor, hostTensor } from '../tensor/host';
import { writeWeights } from '../weights';

const fixture = readSafetensors(
  await readFile(new URL('../../test/fixtures/decoder.safetensors', import.meta.url)),
) as Record<string, HostTensor>;
const weightsOf = (name: string) => {
  const prefix = `${name}/weights/`;
  const own = Object.entries(fixture).filter(([key]) => key.startsWith(prefix));
  return Object.fromEntries(own.map(([key, host]) => [key.slice(prefix.length), host]));
};

let folder: string;
const at = (...names: string[]) => join(folder, ...names);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
  await writeFile(at('weights'), writeSafetensors(weightsOf('qwen3')));
  await writeFile(at('tokens'), writeSafetensors({ tokens: fixture['qwen3/tokens']! }));
});
afterAll(() => rm(folder, { recursive: true }));

const params = JSON.stringify({ config: configs.qwen3 });
const command = () => ['run', 'decoder', '--in', at('tokens'), '--out', at('out'), '--params', params];

test.each(['qwen3', 'gpt2'] as const)('run decoder gives the logits of the weights of %s', async (name) => {
  await writeFile(at('weights'), writeSafetensors(weightsOf(name)));
  await writeFile(at('tokens'), writeSafetensors({ tokens: fixture[`${name}/tokens`]! }));
  const given = ['--weights', at('weights'), '--params', JSON.stringify({ config: configs[name] })];
  const { code, stdout, stderr } = await saccade(...command(), ...given);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toBe(`${at('out')}: logits [2, 7, 11] f32\n`);
  const { logits } = readSafetensors(await readFile(at('out')));
  expect(relativeError(logits!, fixture[`${name}/logits`]!)).toBeLessThan(1e-5);
});

test('run decoder takes shards in a folder, whose config.json it needs no params beside', async () => {
  await writeFile(at('tokens'), writeSafetensors({ tokens: fixture['qwen3/tokens']! }));
  const config = configs.qwen3 as Record<string, unknown>;
  await writeWeights(at('shards'), weightsOf('qwen3'), { shardBytes: 2000, config });
  const given = ['run', 'decoder', '--in', at('tokens'), '--out', at('out'), '--weights', at('shards')];
  expect(await saccade(...given)).toMatchObject({ code: 0, stderr: '' });
  const { logits } = readSafetensors(await readFile(at('out')));
  expect(relativeError(logits!, fixture['qwen3/logits']!)).toBeLessThan(1e-5);
  await writeFile(at('shards', 'config.json'), JSON.stringify({ ...config, model_type: 'none' }));
  await expectRefusal(given, `${at('shards')}: `);
  await rm(at('shards', 'model-00001-of-00010.safetensors'), { force: true });
  await rm(at('shards', 'model.safetensors.index.json'));
  await expectRefusal(given, `${at('shards')} has model-`);
});

test('run decoder takes a GGUF file, which has its configuration', async () => {
  await writeFile(at('tokens'), writeSafetensors({ tokens: fixture['llama/tokens']! }));
  await writeFile(at('llama.gguf'), ggufOfDecoder(configs.llama, weightsOf('llama')));
  const given = ['run', 'decoder', '--in', at('tokens'), '--out', at('out'), '--weights', at('llama.gguf')];
  expect(await saccade(...given)).toMatchObject({ code: 0, stderr: '' });
  const { logits } = readSafetensors(await readFile(at('out')));
  expect(relativeError(logits!, fixture['llama/logits']!)).toBeLessThan(1e-5);
});

test('run decoder without weights makes random ones, the same for a seed', async () => {
  const logits = async (seed: string) => {
    expect(await saccade(...command(), '--seed', seed)).toMatchObject({ code: 0 });
    return readSafetensors(await readFile(at('out'))).logits;
  };
  const first = await logits('1');
  expect(await logits('1')).toEqual(first);
  expect(await logits('2')).not.toEqual(first);
});

test('run of a model whose weights a package has takes these, unless a seed is given', async () => {
  const tokens = hostTensor([728, 446, 31, 19, 54, 379, 18, 37, 735, 54], [2, 5], 'i32');
  await writeFile(at('sentences'), writeSafetensors({ tokens }));
  const likeness = async (...more: string[]) => {
    const { stdout } = await saccade(
      'run',
      'universal-sentence-encoder',
      '--in',
      at('sentences'),
      '--out',
      at('out'),
      ...more,
    );
    expect(stdout).toBe(`${at('out')}: embedding [2, 512] f32\n`);
    const { data } = readSafetensors(await readFile(at('out'))).embedding as HostTensor<'f32'>;
    return data.subarray(0, 512).reduce((sum, value, j) => sum + value * data[512 + j]!, 0);
  };
  expect(await likeness()).toBeGreaterThan(0.7);
  expect(Math.abs(await likeness('--seed', '1'))).toBeLessThan(0.6);
});

test('run decoder refuses what does not fit in a line, and writes nothing', async () => {
  await rm(at('out'), { force: true });
  const { 'model.norm.weight': _, ...others } = weightsOf('qwen3');
  await writeFile(at('short'), writeSafetensors(others));
  const given = (...more: string[]) => [...command(), ...more];
  await expectRefusal(given('--weights', at('short')), `${at('short')}: weights have no tensor model.norm.weight`);
  await expectRefusal(given('--weights', at('weights'), '--seed', '1'), '--seed makes weights: leave --weights out');
  await expectRefusal(given('--grad'), '--grad is of methods: decoder is a model');
  await expectRefusal(given('--params', '{}'), 'param config of decoder: expected object, got undefined');
  const chosen = JSON.stringify({ config: configs.qwen3, attention: 5 });
  const expected = 'param attention of decoder: expected string or object or list of (string or object), got 5';
  await expectRefusal(given('--params', chosen), expected);
  await expectRefusal(
    given('--params', '{"configs": {}}'),
    "decoder has no param 'configs': expected config, attention",
  );
  await expectRefusal(given('--params', '[]'), 'params of decoder must be an object, got []');
  await writeFile(at('large'), writeSafetensors({ tokens: hostTensor(Int32Array.of(1, 11), [1, 2], 'i32') }));
  await expectRefusal(given('--in', at('large')), 'indices must be from 0 to 10, got 11 at element 1 of indices');
  await expectRefusal(['run', 'attention', ...command().slice(2), '--seed', '1'], '--weights and --seed are of models');
  expect(await readdir(folder)).not.toContain('out');
});
