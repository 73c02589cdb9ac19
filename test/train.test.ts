/** Training that is killed goes on as if it had not been: the built command line, in processes of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { uniformGenerator } from '../src/tensor/random';
import { readCheckpoint } from '../src/train';

const bin = resolve(import.meta.dirname, '../dist/cli/bin.mjs');
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-killed-'));
  await writeFile(join(folder, 'text.txt'), 'the whale, the white whale and the sea. '.repeat(200));
});
afterAll(() => rm(folder, { recursive: true }));

const STEPS = 30;

function training(out: string, threads: number, ...more: string[]): ChildProcess {
  const given = ['--out', join(folder, out), '--threads', String(threads), ...more];
  return spawn(process.execPath, [bin, 'train', ...given], { stdio: 'ignore' });
}

test('killed at any time, on another number of threads, it leaves the same files', async () => {
  const settings = [
    ...['--text', join(folder, 'text.txt'), '--steps', String(STEPS), '--every', '1', '--vocabulary', '300'],
    ...['--length', '24', '--batch', '3', '--layers', '2', '--width', '24', '--heads', '2'],
    ...['--optimizer', '{"name": "muon", "clip": 1}'],
  ];
  expect(await once(training('whole', 1, ...settings), 'exit')).toEqual([0, null]);

  const uniform = uniformGenerator(inject('seed'));
  const last = join(folder, 'killed', 'last.safetensors');
  let arguments_ = settings;
  let kills = 0;
  for (let done = 0; done < STEPS; ) {
    const child = training('killed', 1 + (kills % 2), ...arguments_);
    const exit = once(child, 'exit');
    // Some steps further, and then at any moment of one.
    const until = done + 1 + Math.floor(uniform() * 15);
    const isThere = async () => (await stat(last).catch(() => undefined)) && readCheckpoint(await readFile(last)).steps;
    while (child.exitCode === null && ((await isThere()) ?? 0) < until) await setTimeout(5);
    await setTimeout(20 * uniform());
    child.kill('SIGKILL');
    await exit;
    done = (await isThere()) ?? 0;
    arguments_ = ['--resume'];
    kills++;
  }
  expect(await once(training('killed', 2, '--resume'), 'exit')).toEqual([0, null]);
  expect(kills).toBeGreaterThan(0);
  for (const file of ['model', 'last', 'best'])
    expect(
      (await readFile(join(folder, 'killed', `${file}.safetensors`))).equals(
        await readFile(join(folder, 'whole', `${file}.safetensors`)),
      ),
    ).toBe(true);
  for (const file of ['log.json', 'config.json', 'tokenizer.json', 'loss.svg'])
    expect(await readFile(join(folder, 'killed', file), 'utf8')).toBe(
      await readFile(join(folder, 'whole', file), 'utf8'),
    );
});
