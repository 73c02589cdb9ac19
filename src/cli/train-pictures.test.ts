import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { encode } from 'fast-png';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { readSafetensors, writeSafetensors } from '../io';
import { hostTensor } from '../tensor/host';
import { uniformGenerator } from '../tensor/random';

let folder: string;
const at = (...names: string[]) => join(folder, ...names);
const SIDE = 8;

/** Noise, brighter on top (class 0) or below (class 1). */
function picturesOf(count: number, seed: number) {
  const random = uniformGenerator(seed);
  const labels = Uint8Array.from({ length: count }, () => Math.floor(2 * random()));
  const isBright = (place: number, label: number) => Math.floor(place / (SIDE * (SIDE / 2))) === label;
  const pixels = Uint8Array.from(
    { length: count * SIDE ** 2 },
    (_, i) => 120 * random() + (isBright(i % SIDE ** 2, labels[Math.floor(i / SIDE ** 2)] as number) ? 120 : 0),
  );
  return { pixels, labels };
}

const idx = (shape: readonly number[], data: Uint8Array) =>
  Uint8Array.from([0, 0, 8, shape.length, ...shape.flatMap((extent) => [0, 0, extent >> 8, extent & 255]), ...data]);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-pictures-'));
  await mkdir(at('mnist'));
  for (const [part, count] of [
    ['train', 120],
    ['t10k', 50],
  ] as const) {
    const { pixels, labels } = picturesOf(count, count);
    await writeFile(at('mnist', `${part}-images-idx3-ubyte.gz`), gzipSync(idx([count, SIDE, SIDE], pixels)));
    await writeFile(at('mnist', `${part}-labels-idx1-ubyte`), idx([count], labels));
  }
});
afterAll(() => rm(folder, { recursive: true }));

const MINI = ['train', '--model', 'van', '--params', '{"variant": "mini"}', '--threads', '1', '--batch', '8'];
const onDigits = (out: string, ...more: string[]) => [...MINI, '--data', at('mnist'), '--out', at(out), ...more];
const jsonOf = async (...names: string[]) => JSON.parse(await readFile(at(...names), 'utf8'));
const weightsOf = async (out: string) => readSafetensors(await readFile(at(out, 'model.safetensors')));

test('learns pictures from IDX files, goes on where it was stopped, and says how good it is', async () => {
  const { code, stdout } = await saccade(...onDigits('whole', '--steps', '10', '--every', '5'));
  expect(code).toBe(0);
  expect(stdout).toMatch(/^van, learned from .*mnist\n/);
  expect(stdout).toMatch(/10 steps: loss \S+, of validation \S+\nRight on \S+% of 50 pictures that it has not seen \(/);
  const { accuracy, validation, pictures } = await jsonOf('whole', 'log.json');
  expect(accuracy).toBeGreaterThan(0.8);
  expect([pictures, validation.length]).toEqual([50, 2]);
  expect(await jsonOf('whole', 'config.json')).toMatchObject({
    architecture: 'van',
    num_classes: 2,
    params: { variant: 'mini', classes: 2 },
    pretrained_cfg: { input_size: [3, SIDE, SIDE], crop_pct: 1 },
  });
  const last = await readFile(at('whole', 'last.safetensors'));
  expect((await saccade('train', '--resume', '--out', at('whole'))).code).toBe(0);
  expect(await readFile(at('whole', 'last.safetensors'))).toEqual(last);
  await expectRefusal(
    ['train', '--resume', '--out', at('whole'), '--augment', 'flip'],
    "settings.augment of the checkpoint is 'shift', that of this training 'flip'",
  );
});

test('fine-tunes: a new head on features that stay, or all at a lower rate', async () => {
  await mkdir(at('drawn'));
  const { pixels, labels } = picturesOf(60, 1);
  for (const [label, name] of ['below', 'mixed', 'top'].entries()) {
    await mkdir(at('drawn', name));
    for (const [picture] of labels.entries()) {
      const data = pixels.subarray(picture * SIDE ** 2, (picture + 1) * SIDE ** 2);
      const png = encode({ width: SIDE, height: SIDE, data, depth: 8, channels: 1 });
      if (picture % 3 === label) await writeFile(at('drawn', name, `${picture}.png`), png);
    }
  }
  const start = await weightsOf('whole');
  const tune = (out: string, ...more: string[]) => [
    ...[...MINI, '--weights', at('whole'), '--data', at('drawn'), '--steps', '3', '--out', at(out)],
    ...more,
  ];
  expect((await saccade(...tune('head', '--freeze', 'features', '--classes', '4'))).code).toBe(0);
  const head = await weightsOf('head');
  expect(Object.keys(head).sort()).toEqual(Object.keys(start).sort());
  for (const [name, { data, shape }] of Object.entries(head))
    if (name.startsWith('head.')) expect(shape[0]).toBe(4);
    else expect(data, name).toEqual(start[name]!.data);
  expect(await jsonOf('head', 'config.json')).toMatchObject({ label_names: ['below', 'mixed', 'top'] });
  // The head alone is what the optimiser knows; the features lie with it in the checkpoint.
  const names = Object.keys(readSafetensors(await readFile(at('head', 'last.safetensors'))));
  expect(names.filter((name) => name.startsWith('optimizer.'))).toHaveLength(4);
  expect(names).toContain('parameters.block1.0.norm1.running_mean');

  const slow = ['--optimizer', '{"name": "adamw", "learningRate": 1e-4}'];
  expect((await saccade(...tune('all', ...slow))).code).toBe(0);
  const all = await weightsOf('all');
  for (const name of ['block1.0.attn.proj_1.weight', 'block1.0.norm1.running_mean'])
    expect(all[name]!.data, name).not.toEqual(start[name]!.data);
});

test('learns the places of drawn streets', async () => {
  const { code, stdout } = await saccade(
    ...['train', '--model', 'resnet', '--params', '{"variant": "mini", "task": "segment"}', '--task', 'street'],
    ...['--batch', '2', '--steps', '2', '--threads', '2', '--out', at('street')],
  );
  expect(code).toBe(0);
  expect(stdout).toMatch(/Mean intersection over union \S+%, right on \S+% of the places/);
  const { classes, meanIou } = await jsonOf('street', 'log.json');
  expect(classes).toHaveLength(7);
  expect(meanIou).toBeGreaterThan(0);
});

test('reads safetensors, and refuses what is no set of pictures by name', async () => {
  await mkdir(at('tensors'));
  const { pixels, labels } = picturesOf(40, 3);
  await writeFile(at('tensors', 'classes.txt'), 'top\nbelow\n');
  const write = (name: string, shape: readonly number[], x = pixels) =>
    writeFile(
      at('tensors', `${name}.safetensors`),
      writeSafetensors({
        x: hostTensor(
          Float32Array.from(x, (value) => value / 255),
          shape,
        ),
        y: hostTensor(Int32Array.from(labels), [40]),
      }),
    );
  await write('train', [40, SIDE, SIDE]);
  await write('test', [40, 1, SIDE, SIDE]);
  const onTensors = [...MINI, '--steps', '1', '--data', at('tensors')];
  expect((await saccade(...onTensors, '--out', at('read'))).code).toBe(0);
  expect(await jsonOf('read', 'config.json')).toMatchObject({ label_names: ['top', 'below'] });
  const refuse = (message: string, ...words: string[]) => expectRefusal([...words, '--out', at('none')], message);
  await write('test', [40, SIDE * SIDE]);
  await refuse('x of ', ...onTensors);
  await write('test', [40, 4, 16]);
  await refuse(
    'pictures to test with must be as large as those to learn from, [8, 8, 1], got [4, 16, 1]',
    ...onTensors,
  );
  await refuse('--data must name a folder of pictures to learn from', ...MINI);
  await refuse(
    "--model must be one of bevanet, biformer, deit, l2vit, resnet, unireplknet, van, got 'lenet'",
    'train',
    '--model',
    'lenet',
  );
  await refuse('--freeze is of trainings on pictures: name a model by --model', 'train', '--freeze', 'features');
  await refuse("option '--model <name>' cannot be used with option '--text <file>'", ...MINI, '--text', 'a');
  await refuse(
    'must have train-images-idx3-ubyte, train.safetensors or folders of pictures',
    ...MINI,
    '--data',
    at('drawn', 'top'),
  );
  const labelsPath = at('mnist', 'train-labels-idx1-ubyte');
  await writeFile(labelsPath, Uint8Array.of(0, 0, 9, 1, 0, 0, 0, 1, 1));
  await refuse('is no IDX file of unsigned bytes: expected it to begin with 0, 0, 8, got 0, 0, 9', ...onDigits('none'));
  await writeFile(labelsPath, Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 9, 1));
  await refuse('shape [9] takes 9 bytes, got 1', ...onDigits('none'));
  await writeFile(at('mnist', 't10k-images-idx3-ubyte.gz'), 'no gzip');
  await writeFile(labelsPath, idx([120], new Uint8Array(120)));
  await refuse('t10k-images-idx3-ubyte.gz cannot be decompressed', ...onDigits('none'));
});
