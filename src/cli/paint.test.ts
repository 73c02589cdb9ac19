import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
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
    '--mapper-way',
    'moved',
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

test('tells how often both subjects are there, by ways to paint, and goes on', async () => {
  const out = join(folder, 'test.json');
  const command = ['paint', 'test', '--prompts', '2', '--out', out, ...SHORT];
  const { stdout } = await saccade(...command);
  expect(stdout).toMatch(/chosen-pruned +[\d.]+%/);
  expect(stdout).toContain('Scores tell how');
  const run = JSON.parse(await readFile(out, 'utf8'));
  expect(run.settings).toMatchObject({ prompts: 2, arms: { plain: { steps: 2 }, merged: { prune: { ratio: 0.5 } } } });
  const costs = run.arms.map(({ name, cost }: { name: string; cost: number }) => [name, cost]);
  expect(costs).toEqual([
    ['plain', 1],
    ['chosen', 1.25],
    ['moved', 2],
    ['pruned', 1],
    ['merged', 1],
    ['chosen-pruned', 1.25],
  ]);
  await expectRefusal(['paint', 'test', '--resume'], '--resume needs --out, the file to go on with');
  await expectRefusal(command, 'is of a test already: go on with --resume, or pass another file as --out');
  const [row] = run.rows;
  const kept = { ...row, found: { ...row.found, plain: { ...row.found.plain, passes: 6 } } };
  await writeFile(out, JSON.stringify({ ...run, rows: [kept] }));
  await saccade(...command, '--resume');
  const again = JSON.parse(await readFile(out, 'utf8'));
  expect([again.rows.length, again.arms[0].passes]).toEqual([2, 5]);
  expect(again.rows[1].prompt).toBe(run.rows[1].prompt);
  await writeFile(out, JSON.stringify({ ...run, rows: [{}] }));
  await expectRefusal([...command, '--resume'], 'must have rows, as saccade paint test writes them');
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

test('compares diffusion transformers, and goes on with the same comparison', async () => {
  const out = join(folder, 'transformers');
  const file = join(out, 'transformers.json');
  const sizes = ['--seeds', '1', '--steps', '1', '--batch', '2', '--pictures', '3', '--sampled', '1'];
  const command = ['paint', 'transformers', '--out', out, '--attentions', 'relu,dydila', ...sizes, ...QUICK];
  const { stdout } = await saccade(...command);
  expect(stdout).toMatch(/dydila +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +\d+\n/);
  await expectRefusal(command, 'is of a comparison already: go on with --resume, or pass another folder as --out');
  await expectRefusal([...command, '--resume', '--seeds', '2'], 'is of other settings');
  expect((await readdir(out)).sort()).toEqual(['dydila-0.png', 'relu-0.png', 'transformers.json']);
  const run = JSON.parse(await readFile(file, 'utf8'));
  const [first] = run.rows;
  await writeFile(file, JSON.stringify({ ...run, rows: [{ ...first, loss: 7 }] }));
  expect((await saccade(...command, '--resume')).stdout).toMatch(/relu +7.00 /);
  const { rows, drawn } = JSON.parse(await readFile(file, 'utf8'));
  expect(rows.map(({ attention }: { attention: string }) => attention)).toEqual(['relu', 'dydila']);
  expect(drawn).toBe(run.drawn);
  await writeFile(file, JSON.stringify({ ...run, rows: [3] }));
  await expectRefusal([...command, '--resume'], 'must have rows, as saccade paint transformers writes them');
  await expectRefusal(['paint', 'transformers', '--attentions', 'relu,relu'], "each once, got ['relu', 'relu']");
});

test.each([
  [[], 'paint needs a prompt, such as "a shirt and a shoe"'],
  [['a dog'], "the prompt has the unknown word 'dog': a prompt may name shirt"],
  [['a shirt', '--latent-mapper'], 'the latent mapper keeps subjects apart and needs two in the prompt, got 1'],
  [['a shirt', '--prune', '0.9'], 'ratio must be from 0 to 0.75'],
  [['test', '--ways', 'chosen,prunned'], "each once, got ['chosen', 'prunned']"],
  [['a shirt', '--prune', 'half'], "prune must be a number of at least 0, got 'half'"],
] as const)('refuses %j', (words, message) =>
  expectRefusal(['paint', ...words, ...SHORT, '--out', join(folder, 'refused')], message),
);
