import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { peer } from './peers';
import { inputsOf, MASKS, type Problem } from './problem';

/** The real host process with made-up peers; the real ones are not needed to test. */
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-peers-'));
  await copyFile(new URL('../../peers/host.mjs', import.meta.url), join(folder, 'host.mjs'));
});
afterAll(() => rm(folder, { recursive: true }));

const PROBLEM: Problem = { n: 6, h: 2, d: 4, mask: MASKS.window };
const { signal } = new AbortController();

async function open(source: string) {
  await writeFile(join(folder, 'tfjs.mjs'), source);
  return peer('tfjs', folder, 2).open({ problem: PROBLEM, inputs: inputsOf(PROBLEM) }, signal);
}

test('a peer gets the problem and the threads, is called as often as asked and gives its result back', async () => {
  const session = await open(`
    let calls = 0;
    export const open = ({ threads }) => ({
      threads: threads - 1,
      prepare: ({ q, v, n, h, d, left, right }) => ({
        run: () => { calls++; },
        result: () => Float32Array.of(calls, n, h, d, left, right, q[0], v.at(-1)),
      }),
    });`);
  expect(session.threads).toBe(1);
  expect(await session.time(3, signal)).toBeGreaterThan(0);
  const { q, v } = inputsOf(PROBLEM);
  expect([...(await session.result(signal))]).toEqual([3, 6, 2, 4, 255, 0, q[0], v.at(-1)]);
  expect(await session.memory(signal)).toBeGreaterThan(-1e8);
  session.close();
});

test('memory is what the peer took since it was opened', async () => {
  const session = await open(`
    let kept;
    export const open = () => ({
      threads: 1,
      prepare: () => ({ run: () => { kept = new Uint8Array(6e7).fill(1); }, result: () => new Float32Array(kept.length % 2) }),
    });`);
  await session.time(1, signal);
  expect(await session.memory(signal)).toBeGreaterThan(5e7);
  session.close();
});

test('an error says what the peer said', async () => {
  await expect(async () =>
    open(`export const open = () => { throw new Error('needs another platform'); };`),
  ).rejects.toThrow('needs another platform');
  await expect(async () => open(`import './absent.mjs';`)).rejects.toThrow(/Cannot find module .*absent/);
});

test('a peer that ends its process is reported', async () => {
  await expect(async () => open(`export const open = () => process.exit(3);`)).rejects.toThrow(
    'its process ended with code 3',
  );
});

test('a peer that hangs is killed by the signal', async () => {
  const session = await open(`
    export const open = () => ({ threads: 1, prepare: () => ({ run() { for (;;); }, result() {} }) });`);
  await expect(async () => session.time(1, AbortSignal.timeout(200))).rejects.toThrow(
    expect.objectContaining({ name: 'TimeoutError' }),
  );
  await expect(async () => session.result(signal)).rejects.toThrow('its process ended with SIGKILL');
}, 10_000);
