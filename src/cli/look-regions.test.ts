import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from 'fast-png';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { writeSafetensors } from '../io';
import { hostTensor } from '../tensor/host';

let folder: string;
const at = (...names: string[]) => join(folder, ...names);
const PARAMS = JSON.stringify({
  ...{ side: 4, width: 8, heads: 2, hidden: 8, layers: 2, frozen: 1, predictor: 1 },
  teacher: { layer: 1, heads: [0, 1] },
});
const train = (...more: string[]) => ['train', '--task', 'regions', '--data', folder, '--threads', '1', ...more];
const look = (...more: string[]) => ['look', '--regions', '--image', at('picture.png'), '--threads', '1', ...more];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-regions-'));
  const y = Int32Array.from({ length: 20 }, (_, at) => at % 10);
  const x = Uint8Array.from({ length: 20 * 36 }, (_, at) => (at % 10 === y[Math.floor(at / 36)] ? 250 : 20));
  const pictures = writeSafetensors({ x: hostTensor(x, [20, 6, 6], 'u8'), y: hostTensor(y, [20]) });
  for (const part of ['train', 'test']) await writeFile(at(`${part}.safetensors`), pictures);
  const data = Uint8Array.from({ length: 3 * 50 * 30 }, (_, i) => (i * 7) % 256);
  await writeFile(at('picture.png'), encode({ width: 50, height: 30, channels: 3, data }));
});
afterAll(() => rm(folder, { recursive: true }));

test('a model learns to answer, its predictor where to look, and look tells both answers', async () => {
  const small = ['--steps', '2', '--batch', '2', '--params', PARAMS];
  const model = await saccade(...train(...small, '--out', at('model')));
  expect([model.code, model.stderr]).toEqual([0, '']);
  expect(model.stdout).toMatch(/Of \d+ questions about garments that it has not seen: right answers before/);
  const whole = await saccade(...train(...small, '--weights', at('model'), '--out', at('whole')));
  expect(whole.stdout).toMatch(/after it [\d.]+%.*, of the predictor [\d.]+%/);
  expect(JSON.parse(await readFile(at('whole', 'config.json'), 'utf8'))).toMatchObject({
    architecture: 'viewer',
    side: 4,
  });
  await expectRefusal(
    look('--weights', at('model'), '--question', 'which shoe'),
    'weights have no tensor twig_norm.weight',
  );

  const given = look('--weights', at('whole'), '--question', 'Which red shoe?', '--out', at('seen'));
  const none = await saccade(...given, '--threshold', '1');
  expect(none.stdout).toContain('No region.');
  expect(none.stdout).not.toContain('second look');
  const { stdout } = await saccade(...given, '--threshold', '-0.9');
  expect(stdout).toMatch(/answer +first look/);
  const { classes, regions, written } = JSON.parse((await saccade(...given, '--threshold', '-0.9', '--json')).stdout);
  for (const { name, share, after } of classes) {
    expect(stdout).toContain(name);
    for (const each of [share, after]) expect(each > 0 && each < 1).toBe(true);
  }
  expect(regions).not.toEqual([]);
  for (const { left, top, right, bottom } of regions) {
    expect([left >= 0, left < right, right <= 50, top >= 0, top < bottom, bottom <= 30]).not.toContain(false);
    expect(stdout.replace(/\s+/g, ' ')).toContain([left, top, right, bottom].map(Math.round).join(' '));
  }
  const files = await readdir(at('seen'));
  expect(files.map((file) => at('seen', file))).toEqual(expect.arrayContaining(written));
  expect(files).toEqual(
    expect.arrayContaining(['attention.png', 'boxes.png', 'first-look.png', 'map.png', 'report.html']),
  );
  const report = await readFile(at('seen', 'report.html'), 'utf8');
  expect(report).toContain('<title>Where the answer to “Which red shoe?” is</title>');
});

test('look and train refuse what they cannot work with', async () => {
  await expectRefusal(look(), "--question must be given with --regions, such as 'which red shoe'");
  await expectRefusal(look('--question', 'which hat'), "question has the word 'hat', which the model does not know");
  await expectRefusal(look('--question', 'shoe which'), "question must be 'which', a colour or none, and shoe or top");
  await expectRefusal(
    look('--question', 'which shoe', '--model', 'van'),
    "'--regions' cannot be used with option '--model <name>'",
  );
  await expectRefusal(['look', '--image', at('picture.png')], '--model must name a network, or --regions be given');
  await expectRefusal(
    ['look', '--model', 'van', '--image', at('picture.png'), '--question', 'what'],
    '--question is for --regions',
  );
  await expectRefusal(train('--params', '{"side": 10}'), 'side must be a multiple of the 4 cells of a picture, got 10');
  await expectRefusal(train('--model', 'van'), '--model must be left out: regions have a model of their own');
  await expectRefusal(
    train('--weights', at('test.safetensors')),
    'must have a config.json of the architecture viewer beside it',
  );
});
