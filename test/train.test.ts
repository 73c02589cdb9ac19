/** Training that is ended goes on as if it had not been: the built command line, in processes of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
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
const SETTINGS = [
  ...['--text', 'text.txt', '--steps', String(STEPS), '--every', '4', '--vocabulary', '300'],
  ...['--length', '24', '--batch', '3', '--layers', '2', '--width', '24', '--heads', '2'],
  ...['--optimizer', '{"name": "muon", "clip": 1}'],
];
/** What the shell tells of a process that a signal ended, once it has been heard. */
const CODES = { SIGINT: 130, SIGTERM: 143, SIGKILL: null } as const;
const SIGNALS = Object.keys(CODES) as (keyof typeof CODES)[];
/** So many processes that are ended: SACCADE_ENDS asks for more, as over night. */
const ENDS = Number(process.env.SACCADE_ENDS ?? 3);

function training(out: string, threads: number, ...more: string[]): ChildProcess {
  const given = ['--out', out, '--threads', String(threads), ...more];
  return spawn(process.execPath, [bin, 'train', ...given], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Files of a folder, but for what a killed process left. */
const filesOf = async (out: string) =>
  (await readdir(join(folder, out))).filter((name) => !name.startsWith('.')).sort();

async function untilLocked(child: ChildProcess, out: string): Promise<void> {
  const isLocked = async () =>
    (await readdir(join(folder, out)).catch(() => [])).some((name) => name.startsWith(`.saccade.${child.pid}@`));
  while (child.exitCode === null && !(await isLocked())) await setTimeout(5);
}

test('ended by a signal at any time, it keeps what it says, and on any number of threads leaves the same files', async () => {
  const whole = training('whole', 1, ...SETTINGS);
  await untilLocked(whole, 'whole');
  const start = performance.now();
  expect(await once(whole, 'exit')).toEqual([0, null]);
  const usual = performance.now() - start;

  const uniform = uniformGenerator(inject('seed'));
  let ends = 0;
  for (let round = 0; ends < ENDS; round++) {
    const out = `ended-${round}`;
    const last = () => readFile(join(folder, out, 'last.safetensors')).catch(() => undefined);
    for (let isOver = false; !isOver; ) {
      const words = (await last()) ? ['--resume'] : SETTINGS;
      if (words === SETTINGS) await rm(join(folder, out), { recursive: true, force: true });
      const child = training(out, 1 + (ends % 2), ...words);
      let told = '';
      child.stderr?.on('data', (data) => {
        told += data;
      });
      const closed = once(child, 'close');
      await untilLocked(child, out);
      await setTimeout(usual * uniform());
      const signal = SIGNALS[ends % SIGNALS.length] as keyof typeof CODES;
      child.kill(signal);
      const [code, by] = await closed;
      isOver = code === 0;
      if (isOver) continue;
      ends++;
      // Before it listens it ends as processes do.
      if (by !== null) expect(by).toBe(signal);
      else {
        expect(code, told).toBe(CODES[signal]);
        const file = await last();
        // While it loads it says no more than this.
        if (told !== 'saccade: interrupted\n')
          expect(told).toContain(file ? `kept up to step ${readCheckpoint(file).steps}: ` : 'no step was kept');
      }
    }
    expect(await filesOf(out)).toEqual(await filesOf('whole'));
    for (const name of await filesOf('whole'))
      expect((await readFile(join(folder, out, name))).equals(await readFile(join(folder, 'whole', name))), name).toBe(
        true,
      );
    expect((await readdir(join(folder, out))).filter((name) => name.startsWith('.'))).toEqual([]);
  }
});

test('ended by a signal, all ranks end after the same step and leave its checkpoint', async () => {
  const long = ['--steps', '100000', '--every', '100000', '--ranks', '2', '--parallel', 'context'];
  const child = training('ranks', 1, ...SETTINGS, ...long);
  let told = '';
  child.stderr?.on('data', (data) => {
    told += data;
  });
  const closed = once(child, 'close');
  await untilLocked(child, 'ranks');
  child.kill('SIGTERM');
  expect(await closed, told).toEqual([CODES.SIGTERM, null]);
  const { steps } = readCheckpoint(await readFile(join(folder, 'ranks', 'last.safetensors')));
  expect(told).toBe(`kept up to step ${steps}: --resume goes on from there\nsaccade: interrupted\n`);
  expect(await filesOf('ranks')).toEqual(['config.json', 'last.safetensors', 'tokenizer.json']);
});
