import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { expectRefusal, saccade } from '../../test/command-line';
import { writeFileAtomic } from './write-file';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-anomaly-'));
  const { stdout, code } = await saccade(
    ...['anomaly', 'shapes', '--out', join(folder, 'set'), '--learned', '1', '--unseen', '1'],
  );
  expect([code, stdout.split('\n')[0]]).toEqual([0, '126 clouds of 14 classes']);
}, 60_000);
afterAll(() => rm(folder, { recursive: true }));

test('learns clouds of a folder in tasks, goes on, and colours what it scores', async () => {
  const [data, out] = [join(folder, 'set'), join(folder, 'out')];
  const backend = ['--backend', 'wasm', '--threads', '1'];
  const run = [
    ...['anomaly', 'train', '--data', data, '--out', out, '--tasks', 'ball;box', '--arms', 'c3d-ad', '--seeds', '1'],
    ...['--steps', '2', '--views', '1', '--features', '4', ...backend],
  ];
  const { code, stdout } = await saccade(...run);
  expect(code).toBe(0);
  expect(stdout).toMatch(/arm +after task 1 +after task 2 +points\n[─ ]+\nc3d-ad/);
  const { tasks, arms } = JSON.parse(await readFile(join(out, 'anomaly.json'), 'utf8'));
  expect([tasks, arms.length, arms[0].figures[0].length]).toEqual([[['ball'], ['box']], 1, 2]);
  expect((await saccade(...run, '--resume')).stdout).toBe(stdout);
  await expectRefusal(run, 'is of a run already: go on with --resume, or pass another folder as --out');
  await expectRefusal([...run, '--resume', '--views', '2'], 'is of other settings or clouds');

  const scores = join(folder, 'scores');
  const dent = join(data, 'ball', 'test', 'dent');
  const scored = await saccade('anomaly', 'test', '--model', out, '--data', dent, '--out', scores, ...backend);
  expect(scored.stdout).toMatch(/cloud +defect +score +highest point\n[─ ]+\nball-007/);
  expect(scored.stdout).toContain('AUROC by point: ');
  expect((await readdir(scores)).sort()).toEqual(['ball-007.ply', 'ball-007.png', 'scores.json']);
  expect((await stat(join(scores, 'ball-007.png'))).size).toBeGreaterThan(1000);
  const [ply] = (await readFile(join(scores, 'ball-007.ply'), 'latin1')).split('end_header');
  expect(ply).toContain('property uchar red');
}, 60_000);

test('refuses what is not as it must be', async () => {
  const data = join(folder, 'set');
  const train = (...more: string[]) => ['anomaly', 'train', '--data', data, '--out', join(folder, 'none'), ...more];
  await expectRefusal(train('--tasks', 'ball;ball'), "tasks must have each class once, got 'ball' twice");
  await expectRefusal(
    train('--arms', 'best'),
    "arms must be some of c3d-ad, no-advisor, no-perturbation, softmax, fine-tuned, each once, got ['best']",
  );
  await mkdir(join(folder, 'empty', 'bolt', 'train'), { recursive: true });
  await expectRefusal(['anomaly', 'train', '--data', join(folder, 'empty')], 'train has no clouds');
  const one = join(folder, 'one.xyz');
  await writeFileAtomic(one, '1 2 3\n');
  await expectRefusal([...train(), '--meshes', one], 'must be a mesh, whose surface clouds are taken of');
  const flat = join(folder, 'flat.obj');
  await writeFileAtomic(flat, 'v 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n');
  await expectRefusal([...train(), '--meshes', flat], `${flat}: faces of a mesh must have an area`);
});
