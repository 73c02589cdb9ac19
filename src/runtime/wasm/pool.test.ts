import { afterEach, describe, expect, test, vi } from 'vitest';
import { inOrder } from '../../../test/in-order';
import { apply } from '../../expressions/expression';
import { ElementwiseFunction, element } from '../../ops/map/function';
import { kernels, MapItem, MapOperand, MapParams, operationsKernels, RUN } from '../../ops/map/params.generated';
import { kernels as ofPeak, PeakParams } from '../../ops/peak/params.generated';
import type { Control } from '../backend';
import type { Job } from '../cpu/plan';
import type { Pause } from '../order';
import { openHeap } from './memory';
import { Modules } from './modules';
import { Pool } from './pool';
import { CONTROL, CONTROL_LENGTH, type Module, workersHaveLeft } from './schedule';

const LENGTH = 12 * RUN;
/** What a job is said to take: so little that it runs alone, or beside one just run, or with the caller, or by workers. */
const MICROSECONDS = { alone: 1, following: 200, together: 1000, byWorkers: 1e6 };

const heap = openHeap();
const NUMBERS = heap.take(8 * LENGTH).address;
const numbers = new Float32Array(heap.memory.buffer, NUMBERS, LENGTH);
const square = new ElementwiseFunction('square', 1, [apply('multiply', element(0), element(0))]);
const { program } = square.compiled(['float'], [], 'float');
const PROGRAM = heap.take(program.byteLength).address;
new Int32Array(heap.memory.buffer, PROGRAM).set(program);
const modules = new Modules(heap, 'baseline', 3, operationsKernels);
const refuse = () => {
  throw new Error('not this build');
};
const maps = await modules.interpreting(kernels);
const peak = await modules.of(ofPeak);

/** Squares `length` numbers in place, twice: each task must run once, and the first phase end before the second. */
function squaring(length: number, microseconds: number, at = NUMBERS): Job {
  const tasks = Math.ceil(length / RUN);
  const phase = { kernel: 'map', tasks } as const;
  const x = MapOperand({ address: at, dtype: 0 });
  const params = [
    ...MapParams({ program: PROGRAM, inputs: 1, outs: 1, numbers: 0, tensors: 0, items: 0 }),
    ...MapItem({ pastTask: tasks, size: length, axes: 1, bytes: 0 }),
    ...[...x, ...x, length, 1],
  ];
  return { phases: [phase, phase], params, microseconds };
}

/** As the own thread of a page has it, which must not sleep. */
const AwakePool = await (async () => {
  vi.resetModules();
  const wait = vi.spyOn(Atomics, 'wait').mockImplementation(() => {
    throw new TypeError('Atomics.wait cannot be called in this context');
  });
  const { Pool: AwakePool } = await import('./pool');
  wait.mockRestore();
  return AwakePool;
})();
const CALLERS = [
  ['a thread that may sleep', Pool],
  ["a page's own thread", AwakePool],
] as const;

/** Long enough that a thread comes to it late. */
const LONG: Job = {
  phases: [{ kernel: 'peak', tasks: 20 }],
  params: PeakParams({ rounds: 3e6, factor: 0.5 }),
  microseconds: 1e6,
};

/** The room of that job; calls `own` for each task that the calling thread takes. */
const telling = (own: () => void): Module => ({
  ...peak,
  kernels: peak.kernels.map((kernel) => (...given) => {
    own();
    kernel(...given);
  }),
});

const pools: Pool[] = [];
afterEach(() => {
  for (const pool of pools.splice(0)) pool.dispose();
});

async function started(threads: number, Started = Pool): Promise<Pool> {
  const pool = new Started(threads, heap.memory);
  pools.push(pool);
  await pool.start();
  return pool;
}

/** Runs jobs one after the other on so many threads. */
async function open(
  threads: number,
  Opened = Pool,
): Promise<(module: Module, job: Job, control?: Control) => Promise<void>> {
  const pool = await started(threads, Opened);
  const run = inOrder();
  return (module, job, control = {}) => run(pool.run(module, job, control));
}

describe.each(CALLERS)('%s', (_, Pool) => {
  test.each([0, 1, 2, 3])('jobs of all lengths one after another, %i threads', async (threads) => {
    const run = await open(threads, Pool);
    const lengths = Object.values(MICROSECONDS);
    for (let round = 0; round < 500; round++) {
      const length = 1 + ((round * 7919) % LENGTH);
      numbers.fill(3);
      await run(maps, squaring(length, lengths[(round ^ (round >> 2)) % lengths.length] as number));
      expect(numbers.subarray(0, length).every((x) => x === 81)).toBe(true);
      expect(numbers.subarray(length).every((x) => x === 3)).toBe(true);
      // Between jobs of one room those of another.
      if (round % 7 === 0) {
        const microseconds = lengths[round % lengths.length] as number;
        await run(peak, { phases: [{ kernel: 'peak', tasks: 2 }], params: [9, 0.5], microseconds });
      }
      // Workers fall asleep, or nearly.
      if (round % 50 < 5) await new Promise((resolve) => setTimeout(resolve, round % 3));
    }
  });

  describe.each([1, 2, 3])('a kernel that fails, %i threads', (threads) => {
    test.each(['together', 'byWorkers'] as const)('%s', async (length) => {
      const run = await open(threads, Pool);
      const outside = 2 ** 32 - LENGTH;
      const failing = run(maps, squaring(LENGTH, MICROSECONDS[length], outside));
      const next = run(maps, squaring(LENGTH, MICROSECONDS[length]));
      numbers.fill(2);
      await expect(failing).rejects.toThrow(/(the calling thread failed|a worker thread died): .*out of bounds/);
      await next;
      expect(numbers.every((x) => x === 16)).toBe(true);
    });
  });
});

test('a job for workers, from a caller that has just worked itself, leaves the caller free', async () => {
  const run = await open(2);
  await run(maps, squaring(RUN, MICROSECONDS.together));
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await run(peak, LONG);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(2);
});

test('workers that cannot compile a module from the heap say so, and the next call starts new ones', async () => {
  const run = await open(2);
  const broken = { ...maps, address: NUMBERS };
  numbers.fill(3);
  await expect(run(broken, squaring(LENGTH, MICROSECONDS.byWorkers))).rejects.toThrow(
    /a worker thread died: CompileError: .*magic word/,
  );
  await run(maps, squaring(LENGTH, MICROSECONDS.byWorkers));
  expect(numbers.every((x) => x === 81)).toBe(true);
});

test.each(CALLERS)(
  '%s: news of the end of a job that the caller has waited for does not end the next one',
  async (_, Pool) => {
    const pool = await started(2, Pool);
    const first = pool.run(maps, squaring(LENGTH, MICROSECONDS.byWorkers), {});
    numbers.fill(2);
    expect((first.next().value as Pause).block?.()).toBe(true);
    expect(first.next().done).toBe(true);
    const next = pool.run(peak, LONG, {});
    await (next.next().value as Pause).promise;
    expect(workersHaveLeft(new Int32Array(heap.memory.buffer, CONTROL, CONTROL_LENGTH))).toBe(true);
    expect(next.next().done).toBe(true);
  },
);

test('while the calling thread waits it works at the jobs that follow, and only then', async () => {
  const pool = await started(1);
  const long = { ...LONG, microseconds: 50_000 };
  const own = vi.fn();
  const counted = telling(own);
  // Said to take hours: on a busy machine the worker may come late to it, and the calling thread must not lose patience.
  const first = pool.run(counted, { ...long, microseconds: 1e11 }, {});
  expect((first.next().value as Pause).block?.()).toBe(true);
  expect(first.next().done).toBe(true);
  expect(own).not.toHaveBeenCalled();
  expect(pool.run(counted, long, {}).next().done).toBe(true);
  expect(own).toHaveBeenCalledTimes(20);
  await undefined;
  const later = pool.run(counted, long, {});
  await (later.next().value as Pause).promise;
  expect(later.next().done).toBe(true);
  expect(own).toHaveBeenCalledTimes(20);
});

test("a page's own thread that waits takes a share of the job, and says if it fails there", async () => {
  const pool = await started(1, AwakePool);
  const own = vi.fn();
  const counted = telling(own);
  const waited = pool.run(counted, LONG, {});
  expect((waited.next().value as Pause).block?.()).toBe(true);
  expect(own).toHaveBeenCalled();
  expect(waited.next().done).toBe(true);

  const failing = pool.run({ ...peak, kernels: peak.kernels.map(() => refuse) }, LONG, {});
  const { promise, block } = failing.next().value as Pause;
  expect(block?.()).toBe(false);
  await expect(promise).rejects.toThrow('the calling thread failed: Error: not this build');
});
