/**
 * The commands of the README, in the project `documents`, and of the guide, in `system`, as they are written, in a folder
 * that holds the files they name.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { encode } from 'jpeg-js';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { writeSafetensors } from '../src/io';
import { normal } from '../src/tensor/random';
import { writeWeights } from '../src/weights';
import { otherNodes } from './nodes';

const root = resolve(import.meta.dirname, '..');
/** Commands that no test runs as they are written, by what they begin with, and why. */
const NOT_RUN: Readonly<Record<string, string>> = {
  'npm ci': 'installs this checkout',
  'npm start': 'compares for ten seconds what cli/compare.test.ts compares in less',
  'npm test': 'is the tests',
  'npm run test:all': 'is the tests',
  'npm run check': 'is a job of its own',
  'npm install saccade': 'the packed package is installed by packed.test.ts',
  'npx saccade compare --methods all': 'takes minutes',
  'npx saccade compare --methods attention,s2-attention': 'compares Moby Dick, 4096 tokens; so does npm start',
  'npx saccade compare --methods ./landmarks.mjs': "takes a module of the reader's; cli/methods.test.ts has one",
  'npx saccade compare --image cat.jpg --model': 'needs weights; compare/picture-methods.test.ts has a network',
  'npx saccade look --model van --weights clothes': 'needs the network that the command before it trains',
  'npx saccade generate': 'needs a model; so do the three below, and cli/language.test.ts makes one',
  'npx saccade chat': 'waits for lines',
  'npx saccade perplexity': 'needs a model',
  'npx saccade calibrate': 'needs a model',
  'npx saccade serve': 'does not end',
  'npx saccade cluster run': 'needs MPI; cluster.test.ts starts ranks',
  'npx saccade bench links': 'needs MPI and measures for seconds',
  'npx saccade simulate context-parallel --devices 2,8 --tokens 131072 --links': 'takes what the one before it wrote',
  'npx saccade sweep': 'needs a server; sweep.test.ts starts one',
  'npx saccade quantize': 'writes a folder once; cli/weights.test.ts rounds a model',
  'npx saccade train': 'takes minutes; cli/train.test.ts trains with less',
};

/** Where commands find another npx, but for this one. */
const QUICK = 'quick';
const BY_NPX = 'npx saccade --help';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-commands-'));
  const modules = join(folder, 'node_modules');
  await mkdir(join(modules, '.bin'), { recursive: true });
  await symlink(root, join(modules, 'saccade'));
  await symlink(join(root, 'dist/cli/bin.mjs'), join(modules, '.bin/saccade'));
  await mkdir(join(folder, QUICK));
  // It finds what npx would, which takes longer than most commands.
  await writeFile(join(folder, QUICK, 'npx'), '#!/bin/sh\nexec "node_modules/.bin/$@"\n', { mode: 0o755 });
  const words = 'The whale is a mighty animal. He spouts, and he dives below the ship.\n'.repeat(20);
  for (const name of ['FILE', 'notes.txt']) await writeFile(join(folder, name), words);
  const random = (seed: number) => ({ dtype: 'f32', shape: [1, 40, 2, 8], data: normal(640, seed) }) as const;
  await writeFile(join(folder, 'qkv.safetensors'), writeSafetensors({ q: random(1), k: random(2), v: random(3) }));
  const points = { x: { ...random(6), shape: [40, 16] }, y: { ...random(7), shape: [40, 16] } };
  await writeFile(join(folder, 'train.safetensors'), writeSafetensors(points));
  await writeWeights(join(folder, 'model'), { 'lm_head.weight': { ...random(5), shape: [20, 32] } });
  const pixels = Uint8Array.from(normal(96 * 72 * 4, 4), (value) => 128 + 40 * value);
  await writeFile(join(folder, 'photo.jpg'), encode({ width: 96, height: 72, data: pixels }, 90).data);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Lines of shell on a page, without comments at their ends. */
async function commandsOf(page: string): Promise<string[]> {
  const text = await readFile(join(root, page), 'utf8');
  const blocks = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block]) => block as string);
  return blocks.flatMap((block) => block.split('\n')).flatMap((line) => line.replace(/\s+#.*$/, '').trim() || []);
}

test('commands do what they say, on the current Node and on others', async () => {
  const guide = (await readdir(join(root, 'docs/guide'))).map((name) => `docs/guide/${name}`);
  const [ofReadme, ofGuide] = [await commandsOf('README.md'), (await Promise.all(guide.map(commandsOf))).flat()];
  const commands = [...new Set([...ofReadme, ...ofGuide])];
  const isHere = (command: string) => ofReadme.includes(command) !== inject('guide');
  const reasonOf = (command: string) => Object.keys(NOT_RUN).find((start) => command.startsWith(start));
  const run = commands.filter((command) => !reasonOf(command) && isHere(command));
  expect(run.length).toBeGreaterThan(3);
  expect(run.includes(BY_NPX)).toBe(!inject('guide'));
  // Nothing on the list without need.
  expect(new Set(commands.flatMap((command) => reasonOf(command) ?? []))).toEqual(new Set(Object.keys(NOT_RUN)));
  const call = (command: string, node: string) => {
    const first = command === BY_NPX ? [] : [join(folder, QUICK)];
    const path = [...first, dirname(node), process.env.PATH].join(delimiter);
    const env = { ...process.env, PATH: path, npm_config_offline: 'true' };
    return promisify(execFile)('sh', ['-c', command], { cwd: folder, env });
  };
  for (const command of run) {
    const { stdout } = await call(command, process.execPath);
    expect(stdout, command).not.toBe('');
  }
  // What differs by version is how the command line starts and loads.
  for (const { path } of inject('guide') ? [] : otherNodes()) {
    for (const command of run.filter((each) => !each.includes('saccade compare')))
      expect((await call(command, path)).stdout, command).not.toBe('');
  }
});
