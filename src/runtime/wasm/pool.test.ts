import { afterEach, describe, expect, test } from 'vitest';
import { inOrder } from '../../../test/in-order';
import { UNARY } from '../../ops/elementwise/call';
import type { Control } from '../backend';
import type { Pause } from '../order';
import { baseline } from './kernels.generated';
import { type Job, type Machine, Pool } from './pool';
import { CONTROL, CONTROL_LENGTH, HEAP_BASE, type Kernels, workersHaveLeft } from './schedule';

const RUN = 16384;
const LENGTH = 12 * RUN;
const NUMBERS = 2 ** 18;
/** What a job is said to take: so little that it runs alone, or beside one just run, or with the caller, or by workers. */
const MICROSECONDS = { alone: 1, following: 200, together: 1000, byWorkers: 1e6 };

const machine = openMachine();
const numbers = new Float32Array(machine.memory.buffer, NUMBERS, LENGTH);

function openMachine(): Machine {
  const module = new WebAssembly.Module(Uint8Array.from(atob(baseline), (character) => character.charCodeAt(0)));
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 2 ** 16, shared: true });
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
  kernels.initialise();
  // The jobs of these tests need no working memory.
  return { module, memory, kernels, scratch: HEAP_BASE, scratchBytes: 0 };
}

/** Squares `length` numbers in place, twice: each task must run once, and the first phase end before the second. */
function squaring(length: number, microseconds: number, at = NUMBERS): Job {
  const phase = { kernel: 'unary', tasks: Math.ceil(length / RUN) } as const;
  return { phases: [phase, phase], params: [UNARY.indexOf('power'), 2, length, at, 0, at], microseconds };
}

const pools: Pool[] = [];
afterEach(() => {
  for (const pool of pools.splice(0)) pool.dispose();
});

/** Runs jobs one after the other on so many threads. */
async function open(threads: number): Promise<(job: Job, control?: Control) => Promise<void>> {
  const pool = new Pool(threads, machine);
  pools.push(pool);
  await pool.start();
  const run = inOrder();
  return (job, control = {}) => run(pool.run(job, control));
}

test.each([0, 1, 2, 3])('jobs of all lengths one after another, %i threads', async (threads) => {
  const run = await open(threads);
  const lengths = Object.values(MICROSECONDS);
  for (let round = 0; round < 1200; round++) {
    const length = 1 + ((round * 7919) % LENGTH);
    numbers.fill(3);
    await run(squaring(length, lengths[(round ^ (round >> 2)) % lengths.length] as number));
    expect(numbers.subarray(0, length).every((x) => x === 81)).toBe(true);
    expect(numbers.subarray(length).every((x) => x === 3)).toBe(true);
    // Workers fall asleep, or nearly.
    if (round % 50 < 5) await new Promise((resolve) => setTimeout(resolve, round % 3));
  }
});

describe.each([1, 2, 3])('a kernel that fails, %i threads', (threads) => {
  test.each(['together', 'byWorkers'] as const)('%s', async (length) => {
    const run = await open(threads);
    const outside = 2 ** 32 - LENGTH;
    const failing = run(squaring(LENGTH, MICROSECONDS[length], outside));
    const next = run(squaring(LENGTH, MICROSECONDS[length]));
    numbers.fill(2);
    await expect(failing).rejects.toThrow(/(the calling thread failed|a worker thread died): .*out of bounds/);
    await next;
    expect(numbers.every((x) => x === 16)).toBe(true);
  });
});

test('a job for workers, from a caller that has just worked itself, leaves the caller free', async () => {
  const run = await open(2);
  await run(squaring(RUN, MICROSECONDS.together));
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await run({ phases: [{ kernel: 'peak', tasks: 20 }], params: [3e6, 0.5], microseconds: 1e6 });
  clearInterval(timer);
  expect(turns).toBeGreaterThan(2);
});

test('news of the end of a job that the caller has waited for does not end the next one', async () => {
  const pool = new Pool(2, machine);
  pools.push(pool);
  await pool.start();
  const first = pool.run(squaring(LENGTH, MICROSECONDS.byWorkers), {});
  numbers.fill(2);
  expect((first.next().value as Pause).block?.()).toBe(true);
  expect(first.next().done).toBe(true);
  const next = pool.run({ phases: [{ kernel: 'peak', tasks: 20 }], params: [3e6, 0.5], microseconds: 1e6 }, {});
  await (next.next().value as Pause).promise;
  expect(workersHaveLeft(new Int32Array(machine.memory.buffer, CONTROL, CONTROL_LENGTH))).toBe(true);
  expect(next.next().done).toBe(true);
});
