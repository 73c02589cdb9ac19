import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import { disguised, strongDevice } from '../../../test/gpu-device';
import { inOrder } from '../../../test/in-order';
import { add, createRuntime, DisposedError } from '../../index';
import type { Outcome } from '../../tensor/outcome';
import { Device } from './device';
import { type Dispatch, type Kernel, type Region, variants } from './kernel';
import { Memory } from './memory';
import { cut, Queue } from './queue';

describe('steps cut into submissions', () => {
  const step = fc.record({
    tasks: fc.integer({ min: 1, max: 1000 }),
    operations: fc.integer({ min: 1, max: 10 ** 6 }),
    numbersBytes: fc.constantFrom(256, 512),
  });

  test('run every task once, in order, and none is longer than allowed unless it is one task', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), fc.integer({ min: 1, max: 10 ** 6 }), (list, most) => {
        const steps = list.map(({ tasks, ...step }) => ({ ...step, dispatch: { tasks } }));
        const expected = steps.flatMap((step) =>
          Array.from({ length: step.dispatch.tasks }, (_, task) => [step, task]),
        );
        const run: unknown[] = [];
        for (const pieces of cut(steps, () => most, 2048)) {
          const tasks = pieces.flatMap(({ step, first, end }) =>
            Array.from({ length: end - first }, (_, i) => [step, first + i]),
          );
          run.push(...tasks);
          const operations = pieces.reduce((sum, piece) => sum + piece.operations, 0);
          if (tasks.length > 1) expect(operations).toBeLessThanOrEqual(most * (1 + 1e-9));
          expect(pieces.reduce((sum, { step }) => sum + step.numbersBytes, 0)).toBeLessThanOrEqual(2048);
        }
        expect(run).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });

  test('follow what is learned between them', () => {
    let most = 10;
    const lengths: number[] = [];
    for (const [{ first, end }] of cut(
      [{ operations: 100, numbersBytes: 256, dispatch: { tasks: 100 } }],
      () => most,
      2 ** 16,
    ) as Generator<[{ first: number; end: number }]>) {
      lengths.push(end - first);
      most *= 2;
    }
    expect(lengths).toEqual([10, 20, 40, 30]);
  });
});

/** Task t writes 1 to element t. */
const mark = variants(
  (): Kernel => ({
    name: 'mark',
    invocations: 1,
    operands: { out: { access: 'write' } },
    body: 'fn run(task: u32, lane: u32) { store_out(task, 1.0); }',
  }),
)(null);

describe.runIf(inject('hasGpu'))('a GPU queue', () => {
  const tasks = 64;
  let device: Device;
  let memory: Memory;
  let queue: Queue;
  let out: Region;
  let run: (...given: Parameters<Queue['run']>) => Promise<unknown>;

  beforeEach(async () => {
    device = await Device.open({});
    memory = new Memory(device);
    queue = new Queue(device, memory);
    const inTurn = inOrder();
    run = (...given) => inTurn(queue.run(...given));
    const buffer = memory.allocate(4 * tasks);
    out = { storage: { buffer }, dtype: 'f32', shape: [tasks], strides: [1], offset: 0 };
    queue.write(buffer, new Uint8Array(4 * tasks), 0);
  });
  afterEach(() => device.dispose());

  /** A call that passes for so long that each task is a submission. */
  const long = () => ({
    dispatches: [{ kernel: mark, operands: { out }, numbers: {}, tasks, operations: tasks * 1e12 }],
  });

  async function marked(): Promise<number> {
    const bytes = await queue.read(out.storage.buffer as never, 0, 4 * tasks);
    return new Float32Array(bytes.buffer).filter((value) => value === 1).length;
  }

  test('tells how far a long call is', async () => {
    const shares: number[] = [];
    await run(long, { onProgress: (share) => shares.push(share) });
    expect(shares.length).toBeGreaterThan(3);
    expect(shares[0]).toBe(1 / tasks);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.filter((share) => share === 1)).toHaveLength(1);
    expect(shares.at(-1)).toBe(1);
    expect(await marked()).toBe(tasks);
  });

  test('cuts what mostly has nothing to do as if it had, and counts it as little', async () => {
    const shares: number[] = [];
    const each = long().dispatches[0] as Dispatch;
    const plan = () => ({ dispatches: [{ ...each, usual: 1 }, each] });
    await run(plan, { onProgress: (share) => shares.push(share) });
    expect(shares.filter((share) => share < 1e-6)).toHaveLength(tasks);
    expect(await marked()).toBe(tasks);
  });

  test('ends a long call that is cancelled, and frees its memory', async () => {
    const { signal, ...controller } = cancelled();
    const before = memory.report().live;
    const plan: Parameters<Queue['run']>[0] = (workspace) => {
      workspace.scratch([100]);
      return long();
    };
    const call = run(plan, { signal, onProgress: (share) => share > 0.1 && controller.abort() });
    await expect(call).rejects.toThrow('enough');
    expect(await marked()).toBeLessThan(tasks);
    expect(memory.report().live).toBe(before);
    await expect(async () => run(long, { signal })).rejects.toThrow('enough');
    await run(long, {});
    expect(await marked()).toBe(tasks);
  });

  test('ends a call whose progress nobody can hear', async () => {
    const onProgress = () => {
      throw new RangeError('deaf');
    };
    await expect(async () => run(long, { onProgress })).rejects.toThrow('deaf');
    await run(long, {});
    expect(await marked()).toBe(tasks);
  });

  function cancelled(): { signal: AbortSignal; abort: () => void } {
    const controller = new AbortController();
    return { signal: controller.signal, abort: () => controller.abort(new Error('enough')) };
  }
});

describe.runIf(inject('hasGpu'))('a GPU that compiles for ever', () => {
  test('does not keep a call from being cancelled', async () => {
    const gpu = await strongDevice();
    const createComputePipelineAsync = () => new Promise(() => {});
    const runtime = await createRuntime({
      ...{ backend: 'webgpu', webgpu: { device: disguised(gpu, { createComputePipelineAsync }) } },
    });
    const x = runtime.tensor([1, 2], [2]);
    const { live } = runtime.memory();
    const controller = new AbortController();
    const sum = add(x, x, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 20);
    await expect(sum.read()).rejects.toThrow('enough');
    sum.dispose();
    expect(runtime.memory().live).toBe(live);
    runtime.dispose();
    gpu.destroy();
  });
});

describe.runIf(inject('hasGpu'))('a GPU that does not keep up', () => {
  test('has some submissions before it, not all; at the end none hangs', async () => {
    const gpu = await strongDevice();
    const waiting: (() => void)[] = [];
    let submitted = 0;
    const onSubmittedWorkDone = () => new Promise<void>((resolve) => waiting.push(resolve));
    const submit = (buffers: Iterable<GPUCommandBuffer>) => {
      submitted++;
      gpu.queue.submit(buffers);
    };
    const queue = disguised(gpu.queue, { onSubmittedWorkDone, submit });
    const runtime = await createRuntime({ backend: 'webgpu', webgpu: { device: disguised(gpu, { queue }) } });
    const x = runtime.tensor([1, 2], [2]);
    const works = Array.from({ length: 500 }, () => add(x, x).writers[0] as Outcome);
    await expect.poll(() => submitted).toBe(64);
    await gpu.queue.onSubmittedWorkDone();
    expect(submitted).toBe(64);
    const [first] = waiting.splice(0);
    first?.();
    await expect.poll(() => submitted).toBeGreaterThan(64);
    expect(submitted).toBeLessThan(150);

    runtime.dispose();
    await Promise.all(works.map(({ settled }) => settled));
    const reasons = works.flatMap(({ fault }) => fault?.error ?? []);
    expect(reasons.length).toBeGreaterThan(350);
    for (const reason of reasons) expect(reason).toBeInstanceOf(DisposedError);
    gpu.destroy();
  });
});
