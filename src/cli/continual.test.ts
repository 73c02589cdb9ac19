import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { writeSafetensors } from '../io';
import { hostTensor } from '../tensor/host';
import { writeFileAtomic } from './write-file';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-continual-'));
  // The class is which of the places is bright.
  const y = Int32Array.from({ length: 24 }, (_, at) => at % 4);
  const x = Float32Array.from({ length: 24 * 12 }, (_, at) => (at % 4 === y[Math.floor(at / 12)] ? 0.9 : 0.1));
  const pictures = writeSafetensors({ x: hostTensor(x, [24, 3, 4]), y: hostTensor(y, [24]) });
  for (const part of ['train', 'test']) await writeFileAtomic(join(folder, `${part}.safetensors`), pictures);
});
afterAll(() => rm(folder, { recursive: true }));

test('learns tasks in turn, tells what was forgotten, and goes on only with the same run', async () => {
  const out = join(folder, 'out');
  const command = ['continual', '--data', folder, '--out', out, '--tasks', '2', '--seeds', '1', '--steps', '2'];
  const run = [
    ...command,
    '--learners',
    'generative,stored',
    '--stored',
    '1,2',
    '--support',
    '3',
    '--threads',
    '1',
    '--backend',
    'wasm',
  ];
  const { stdout, stderr } = await saccade(...run);
  expect(stderr).toBe('');
  expect(stdout).toMatch(/learner +accuracy +forgotten +classes +and network +0 or 1 +2 or 3\n/);
  expect(stdout).toMatch(/stored rows (as accurate as|that was tried is as accurate as) generative/);
  const { tasks, learners } = JSON.parse(await readFile(join(out, 'continual.json'), 'utf8'));
  expect([tasks, learners.map((each: { learner: string; stored?: number }) => [each.learner, each.stored])]).toEqual([
    ['0 or 1', '2 or 3'],
    [
      ['generative', undefined],
      ['stored', 1],
      ['stored', 2],
    ],
  ]);
  expect((await stat(join(out, 'samples.png'))).size).toBeGreaterThan(100);
  expect((await saccade(...run, '--resume')).stdout).toBe(stdout);
  await expectRefusal(run, 'is of a run already: go on with --resume, or pass another folder as --out');
  await expectRefusal([...run, '--resume', '--most', '5'], 'is of other settings or pictures');
  const saved = join(out, 'stored-1-0.safetensors');
  await writeFileAtomic(saved, (await readFile(saved)).subarray(0, 500));
  await expectRefusal([...run, '--resume'], `${saved}: safetensors: the header takes`);
  const named = ['continual', '--data', folder, '--out', join(folder, 'named'), '--seeds', '1', '--steps', '1'];
  const order = [...named, '--learners', 'joint', '--threads', '1', '--backend', 'wasm', '--tasks'];
  expect((await saccade(...order, '3,1;0,2')).stdout).toMatch(/and network +3 or 1 +0 or 2\n/);
  await expectRefusal([...order, '3,1;1,2'], 'tasks must have each class once, got 1 twice');
  await expectRefusal([...order, '3,1;0'], 'tasks must have two classes at least, got 1 in task 2');
  await expectRefusal(
    [...order, '3,cat'],
    "tasks must be of the classes of the pictures, which are numbers, got 'cat'",
  );
  await expectRefusal([...named, '--learners', 'joint,joint'], "each once, got ['joint', 'joint']");
  await expectRefusal(['continual', '--data', join(folder, 'none')], `cannot read '${join(folder, 'none')}'`);
});
