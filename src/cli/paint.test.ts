import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-paint-'));
});
afterAll(() => rm(folder, { recursive: true }));

const QUICK = ['--threads', '1', '--backend', 'wasm'];
const SHORT = [...QUICK, '--steps', '2', '--rounds', '1', '--moves', '1', '--last', '0'];
const signature = async (path: string) => [...(await readFile(path)).subarray(1, 4)];

test('paints before and after, with maps and a report', async () => {
  const out = join(folder, 'painted');
  const prompt = 'a shirt and a shoe';
  const { stdout, stderr } = await saccade(
    'paint',
    prompt,
    '--out',
    out,
    ...SHORT,
    '--latent-mapper',
    '--prune',
    '0.5',
  );
  expect(stderr).toBe('');
  expect(stdout).toMatch(/garment +before +after\n/);
  expect(stdout).toMatch(/shirt +asked +[\d.<]+% +[\d.<]+%\n/);
  expect(stdout).toContain('Passes through the network, one back counted as two: 4 before, 8 after (2.00 times).');
  for (const name of ['before', 'after', 'before-maps', 'after-maps'])
    expect(await signature(join(out, `${name}.png`)), name).toEqual([80, 78, 71]);
  const report = await readFile(join(out, 'report.html'), 'utf8');
  expect(report).toContain(`<title>${prompt}</title>`);
  expect(report).toContain('"view":"paint"');
});

test('tells how often both subjects are there, by ways to paint', async () => {
  const out = join(folder, 'test.json');
  const { stdout } = await saccade('paint', 'test', '--prompts', '2', '--out', out, ...SHORT);
  expect(stdout).toMatch(/latent mapper, pruned +[\d.]+%/);
  const { settings, arms } = JSON.parse(await readFile(out, 'utf8'));
  expect(settings).toMatchObject({ prompts: 2, steps: 2, prune: 0.5 });
  const costs = arms.map(({ name, cost }: { name: string; cost: number }) => [name, cost]);
  expect(costs).toEqual([
    ['plain', 1],
    ['latent mapper', 2],
    ['pruned', 1],
    ['merged', 1],
    ['latent mapper, pruned', 2],
  ]);
});

test('trains networks that paint, and goes on only with the same training', async () => {
  const out = join(folder, 'networks');
  const command = ['paint', 'train', '--out', out, '--steps', '1', ...QUICK];
  expect((await saccade(...command)).stdout).toContain('Trained: codec, judge, painter.');
  await expectRefusal(command, 'is of a training already: go on with --resume, or pass another folder as --out');
  expect((await saccade(...command, '--resume')).stdout).toContain('Trained: codec, judge, painter.');
  await expectRefusal([...command, '--resume', '--seed', '1'], 'is of other settings or pictures');
  const painted = await saccade('paint', 'a hat', '--weights', out, '--out', join(folder, 'own'), ...SHORT);
  expect(painted.stdout).toMatch(/garment +in the picture\n/);
  await writeFile(join(out, 'paint.json'), '{"words": 3}');
  await expectRefusal(['paint', 'a hat', '--weights', out], 'must have the words of classes');
});

test.each([
  [[], 'paint needs a prompt, such as "a shirt and a shoe"'],
  [['a dog'], "the prompt has the unknown word 'dog': a prompt may name shirt"],
  [['a shirt', '--latent-mapper'], 'the latent mapper keeps subjects apart and needs two in the prompt, got 1'],
  [['a shirt', '--prune', '0.9'], 'ratio must be from 0 to 0.75'],
  [['a shirt', '--prune', 'half'], "prune must be a number of at least 0, got 'half'"],
] as const)('refuses %j', (words, message) =>
  expectRefusal(['paint', ...words, ...SHORT, '--out', join(folder, 'refused')], message),
);
