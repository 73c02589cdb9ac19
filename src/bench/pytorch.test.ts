import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { has } from '../../test/has';
import { PYTHON } from '../../test/needs';
import type { Runtime } from '../runtime/runtime';
import { gateOf } from './gate';
import { casesOf } from './longca/cases';
import { LONGCA_CONTENDERS, type LongCaContender } from './longca/contenders';
import type { LongCaRow } from './longca/report';
import { runLongCa } from './longca/run';
import { peersSource } from './peers';
import { inputsOf, MASK_NAMES, MASKS, type MaskName, type Problem } from './problem';
import { type PyTorchName, pytorch } from './pytorch';

vi.mock('node:os', { spy: true });

const PROBLEM: Problem = { n: 6, h: 2, d: 4, mask: MASKS.causal };
const { signal } = new AbortController();

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'saccade-python-'));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

function open(problem = PROBLEM, name: PyTorchName = 'pytorch', backend: 'wasm' | 'webgpu' = 'webgpu') {
  const task = { problem, inputs: inputsOf(problem) };
  return pytorch(name, peersSource(), { backend, threads: 2 }).open(task, signal);
}

/** Lets SACCADE_PYTHON be a program with this source, which gets the script's path. */
async function pretend(source: string): Promise<void> {
  const path = join(folder, 'python.cjs');
  await writeFile(path, source);
  await chmod(path, 0o755);
  vi.stubEnv('SACCADE_PYTHON', path);
}

/** In the place of the script: answers each question by what `answer` makes of it. */
const answering = (answer: string) => `#!${process.execPath}
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const asked = JSON.parse(line);
  console.log(JSON.stringify({ id: asked.id, ...(${answer})(asked) }));
});`;

test('it is told the problem, the threads and the dtype, and says what it is', async () => {
  await pretend(
    answering(`(asked) => {
      if (asked.question === 'open') return { value: { threads: asked.threads, label: asked.backend + asked.dtype } };
      if (asked.question === 'memory') return { value: null };
      if (asked.question === 'run') return { value: asked.calls };
      if (asked.question === 'prepare') {
        globalThis.inputs = require('node:fs').readFileSync(asked.inputs).subarray(-4 * 3 * 6 * 2 * 4);
        globalThis.numbers = [asked.n, asked.h, asked.d, asked.left, asked.right];
      }
      if (asked.question === 'result') {
        const numbers = Float32Array.of(...globalThis.numbers);
        require('node:fs').writeFileSync(asked.path, Buffer.concat([Buffer.from(numbers.buffer), globalThis.inputs]));
      }
      return {};
    }`),
  );
  const session = await open({ ...PROBLEM, dtype: 'f16' }, 'pytorch-f16');
  expect([session.threads, session.label]).toEqual([2, 'webgpuf16']);
  expect(await session.time(3, signal)).toBe(3);
  expect(await session.memory(signal)).toBeUndefined();
  const { q, k, v } = inputsOf({ ...PROBLEM, dtype: 'f16' });
  expect([...(await session.result(signal))]).toEqual([6, 2, 4, -1, 0, ...k, ...q, ...v]);
  session.close();
  await expect(async () => session.time(1, signal)).rejects.toThrow('its process ended with SIGKILL');
});

test('without Python it says so, and what to do', async () => {
  vi.stubEnv('SACCADE_PYTHON', join(folder, 'absent'));
  await expect(async () => open()).rejects.toThrow(
    /absent' cannot be run \(ENOENT\): install Python and PyTorch, or .*SACCADE_PYTHON/,
  );
  await writeFile(join(folder, 'absent'), 'no program');
  await expect(async () => open()).rejects.toThrow(/cannot be run \(EACCES\)/);
});

test('a script that dies, fails, says something else or hangs is reported', async () => {
  await pretend('#!/bin/sh\necho "ImportError: libcudart.so.12 is missing" >&2\nexit 1');
  await expect(async () => open()).rejects.toThrow('ImportError: libcudart.so.12 is missing');
  await pretend('#!/bin/sh\nread line; exit 3');
  await expect(async () => open()).rejects.toThrow('its process ended with code 3');
  await pretend(answering(`() => ({ error: 'out of memory' })`));
  await expect(async () => open()).rejects.toThrow('out of memory');
  await pretend('#!/bin/sh\nread line; echo "welcome to my shell"; exec sleep 100');
  await expect(async () => open()).rejects.toThrow("it said 'welcome to my shell' instead of an answer");
  await pretend(answering(`(asked) => { while (asked.question === 'run'); return { value: {} }; }`));
  const session = await open();
  await expect(async () => session.time(1, AbortSignal.timeout(200))).rejects.toMatchObject({ name: 'TimeoutError' });
});

describe.runIf(has('pytorch'))('PyTorch', () => {
  test('a Python without it is told by its path', async () => {
    // Without the packages that are installed.
    await pretend(`#!/bin/sh\nexec ${PYTHON} -I -S "$@"`);
    await expect(async () => open()).rejects.toThrow(/has no module 'torch': install PyTorch .*SACCADE_PYTHON/);
  });

  test.each(MASK_NAMES)('is right under the mask %s, in f32 and in f16', async (mask: MaskName) => {
    for (const [name, dtype] of [
      ['pytorch', 'f32'],
      ['pytorch-f16', 'f16'],
    ] as const) {
      const problem: Problem = { n: 300, h: 2, d: 8, dtype, mask: MASKS[mask] };
      const session = await open(problem, name);
      expect(session.label).toMatch(new RegExp(`^PyTorch [\\d.]+ ${dtype}, `));
      expect(await session.time(2, signal)).toBeGreaterThan(0);
      const error = (await gateOf(problem, inputsOf(problem)))(await session.result(signal));
      expect(error).toBeLessThan(dtype === 'f32' ? 1e-6 : 1e-3);
      expect(await session.memory(signal)).toBeGreaterThan(-1e8);
      session.close();
    }
  });

  test('computes on the processor beside wasm, with as many threads', async () => {
    const session = await open(PROBLEM, 'pytorch', 'wasm');
    expect(session.threads).toBe(2);
    expect(session.label).toMatch(/^PyTorch [\d.]+$/);
    session.close();
  });

  test('on a GPU it names the card, has no threads, and waits for the card around the calls of a sample', async () => {
    const card = `
import runpy, sys, torch
waits = []
cpu = torch.device('cpu')
torch.device = lambda name: {'cuda': cpu}[name]
torch.cuda.is_available = lambda: True
torch.cuda.get_device_name = lambda device: 'Card 9000'
torch.cuda.max_memory_allocated = lambda: len(waits)
torch.cuda.synchronize = lambda: waits.append(1)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')`;
    await pretend(`#!/bin/sh\nexec ${PYTHON} -c "${card}" "$@"`);
    const problem: Problem = { ...PROBLEM, dtype: 'f16' };
    const session = await open(problem, 'pytorch-f16');
    expect(session.label).toMatch(/^PyTorch [\d.]+ f16, Card 9000$/);
    expect(session.threads).toBeUndefined();
    expect(await session.time(5, signal)).toBeGreaterThan(0);
    expect(await session.memory(signal)).toBe(2);
    expect((await gateOf(problem, inputsOf(problem)))(await session.result(signal))).toBeLessThan(1e-3);
    session.close();
  });

  test.each([
    ['share-question', 'forward', [4, 4]],
    ['uniform-block-sparse', 'backward', [4, 2]],
  ] as const)('is right under %s of LongCA-bench, %s', async (mask, pass, heads) => {
    const [contender] = LONGCA_CONTENDERS.filter(({ name }) => name === 'pytorch-masked') as [LongCaContender];
    const choice = { n: [200], sparse: [], masks: [mask], passes: [pass], heads: [heads], d: 8 };
    const cases = casesOf({ ...choice, contenders: [contender.name] });
    const rows: LongCaRow[] = [];
    const options = { cases, contenders: [contender], place: { threads: 1 }, limit: 60, earlier: [] };
    // All 200 queries are checked by the reference alone.
    await runLongCa(options, undefined as unknown as Runtime, { onRow: (row) => void rows.push(row) });
    expect(rows).toMatchObject([{ status: 'ok', mask, pass }]);
    expect(rows[0]?.error).toBeLessThan(1e-5);
  });

  test('fails before it takes more memory than it may', async () => {
    vi.mocked(freemem).mockReturnValueOnce(2 ** 30);
    // Distances of all pairs, 2 GiB.
    await expect(async () => open({ n: 2 ** 14, h: 1, d: 1, mask: MASKS.window })).rejects.toThrow(/memory/);
  });
});
