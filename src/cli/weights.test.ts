/** `saccade inspect` and `saccade quantize`. */
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { relativeError } from '../../test/describe-method';
import { createRuntime } from '../index';
import { readSafetensors, writeSafetensors } from '../io';
import { safetensorsBeginning } from '../io/safetensors';
import { createDecoder } from '../models';
import { type HostTensor, hostTensor } from '../tensor/host';
import { openWeights, type QuantizedTensor, writeWeights } from '../weights';

const config = {
  model_type: 'llama',
  vocab_size: 32,
  hidden_size: 64,
  intermediate_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 2,
};

let folder: string;
const at = (...names: string[]) => join(folder, ...names);
const tensors: Record<string, HostTensor> = {};
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-'));
  using runtime = await createRuntime({ backend: 'reference' });
  const parameters = createDecoder(config).initialize(runtime, { seed: 1 });
  for (const [name, tensor] of Object.entries(parameters)) tensors[name] = await tensor.toHost();
  await writeWeights(at('model'), tensors, { shardBytes: 1e5, config });
  await writeFile(at('model', 'tokenizer.json'), '{}');
  await writeFile(at('tokens'), writeSafetensors({ tokens: hostTensor([1, 2, 3, 4], [1, 4], 'i32') }));
});
afterAll(() => rm(folder, { recursive: true }));

async function logitsOf(weights: string): Promise<HostTensor> {
  const given = ['--weights', at(weights), '--in', at('tokens'), '--out', at('out')];
  expect(await saccade('run', 'decoder', ...given)).toMatchObject({ code: 0, stderr: '' });
  return readSafetensors(await readFile(at('out'))).logits!;
}

test('inspect tells what is in weights, and what runs them', async () => {
  const { stdout } = await saccade('inspect', at('model'));
  expect(stdout).toMatch(/format +safetensors, \d files, \d+ KiB of tensors/);
  expect(stdout).toMatch(/architecture +llama/);
  expect(stdout.replace(/ +/g, ' ')).toContain(`runs as saccade run decoder --weights ${at('model')}`);
  expect(stdout).toMatch(/model\.layers\.1\.mlp\.up_proj\.weight +f32 +\[256, 64\] +64\.0 KiB/);
  // Of weights that nothing runs, a short reason for each model.
  const none = (await saccade('inspect', at('tokens'))).stdout;
  expect(none).toContain('none of the models');
  expect(Math.max(...none.split('\n').map((line) => line.length))).toBeLessThan(160);
  const { stdout: json } = await saccade('inspect', at('tokens'), '--json');
  expect((await saccade('inspect', '--json', at('tokens'))).stdout).toBe(json);
  await expectRefusal(['inspect', '--json'], 'the path of the weights must be given, as in saccade inspect PATH');
  const described = JSON.parse(json);
  expect(described).toMatchObject({ parameters: 4, bytes: 16, types: [{ type: 'i32', tensors: 1 }] });
  expect(described.models[0]).toEqual({
    model: 'decoder',
    fits: false,
    because: 'there is no config.json beside the weights',
  });
});

test('inspect --tensor tells the range of its elements and how they are spread', async () => {
  const values = [0, 0, 1, 4, -4, Number.NaN, Number.POSITIVE_INFINITY, 4];
  await writeFile(at('values'), writeSafetensors({ 'a.b': hostTensor(values, [2, 4]), none: hostTensor([], [0]) }));
  const { stdout } = await saccade('inspect', at('values'), '--tensor', 'a.b', '--json');
  const { histogram, ...described } = JSON.parse(stdout);
  expect(described).toMatchObject({ elements: 8, least: -4, most: 4, zeros: 2, infinite: 1, notNumbers: 1 });
  expect(described.mean).toBeCloseTo(5 / 6);
  expect(described.standardDeviation).toBeCloseTo(Math.sqrt(49 / 6 - 25 / 36));
  const counts = histogram.map(({ count }: { count: number }) => count);
  expect(counts).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 2]);
  const shown = (await saccade('inspect', at('values'), '--tensor', 'a.b')).stdout;
  expect(shown).toMatch(/-4\.00 to -3\.50 +█{25} +1 \(12\.5%\)/);
  expect((await saccade('inspect', at('values'), '--tensor', 'none')).stdout).toContain('0 elements');
  await expectRefusal(['inspect', at('values'), '--tensor', 'b'], `${at('values')} has no tensor 'b', but a.b`);
  await writeFile(at('page'), '<!doctype html>');
  await expectRefusal(['inspect', at('page')], `${at('page')} is a web page`);
});

test('what the heap cannot hold is refused before it is read, with what would fit', async () => {
  const large = {
    ...config,
    hidden_size: 4096,
    intermediate_size: 12288,
    num_attention_heads: 32,
    num_hidden_layers: 24,
  };
  const places = Object.entries(createDecoder(large).parameters).map(([name, { shape }]) => {
    const byteLength = 2 * shape.reduce((a, b) => a * b, 1);
    return { name, dtype: 'bf16', shape, byteLength } as const;
  });
  const bytes = places.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const beginning = safetensorsBeginning(places, {});
  await mkdir(at('large'));
  await writeFile(at('large', 'config.json'), JSON.stringify(large));
  await writeFile(at('large', 'model.safetensors'), beginning);
  await truncate(at('large', 'model.safetensors'), beginning.length + bytes);
  const given = ['run', 'decoder', '--weights', at('large'), '--in', at('tokens'), '--out', at('out')];
  const refusal = `${at('large')}: its parameters take 9.75 GiB as stored, and the heap holds 4.00 GiB: rounded by saccade quantize --type q4`;
  await expectRefusal(given, refusal);
});

test.each([
  ['q8', 0.006, 0.02],
  ['q4', 0.1, 0.25],
] as const)('quantize to %s tells the error of each layer, and the decoder runs on', async (type, most, ofLogits) => {
  const given = ['quantize', '--in', at('model'), '--out', at(type), '--type', type, '--keep', '*embed*', '--json'];
  const { code, stdout, stderr } = await saccade(...given);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const report: QuantizedTensor[] = JSON.parse(stdout);
  expect(report.map(({ name }) => name).sort()).toEqual(Object.keys(tensors).sort());
  await using weights = await openWeights(at(type));
  expect(weights.config).toEqual(config);
  for (const { name, to, error } of report) {
    const isRounded = tensors[name]!.shape.length === 2 && !name.includes('embed');
    expect(weights.tensors.get(name)?.type).toBe(to);
    expect(to === 'f32').toBe(!isRounded);
    expect(error > 0 && error < most).toBe(isRounded);
    expect(relativeError(await weights.read(name), tensors[name]!)).toBeLessThan(isRounded ? 1 : 1e-30);
  }
  expect(await readFile(at(type, 'tokenizer.json'), 'utf8')).toBe('{}');
  expect(relativeError(await logitsOf(type), await logitsOf('model'))).toBeLessThan(ofLogits);
});

test('quantize shows a table, takes what is quantised as it is, and refuses what it cannot round', async () => {
  const { stdout } = await saccade('quantize', '--in', at('q8'), '--out', at('again'), '--type', 'q4');
  expect(stdout).toMatch(/layer +types +size +largest error +where\n/);
  expect(stdout).toMatch(/model\.layers\.0 +f32, q8_0 +\d/);
  expect(stdout).toMatch(/model\.embed_tokens\.weight +f32 → q4_1 +[\d.]+ KiB +\d\.\d+%\n/);
  const again = ['quantize', '--in', at('model'), '--out', at('q8'), '--type', 'q8'];
  await expectRefusal(again, `'${at('q8')}' has model.safetensors already`);
  const wrong = { 'a.weight': hostTensor(new Float32Array(64).fill(Number.NaN), [2, 32]) };
  await writeFile(at('wrong'), writeSafetensors(wrong));
  const refused = ['quantize', '--in', at('wrong'), '--out', at('refused'), '--type', 'q8'];
  await expectRefusal(refused, `${at('wrong')}: tensor 'a.weight': q8_0 holds finite numbers, got NaN`);
  await expectRefusal(['quantize', '--in', at('wrong'), '--out', at('refused')], '--type <type>');
});
