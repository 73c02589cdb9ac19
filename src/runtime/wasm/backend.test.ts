import { afterEach, describe, expect, test } from 'vitest';
import { expectClose } from '../../../test/expect';
import {
  type AttentionOptions,
  add,
  attention,
  attentionBackward,
  type Control,
  createRuntime,
  matmul,
  type Runtime,
  type RuntimeOptions,
  type Tensor,
} from '../../index';
import type { TileShapes } from '../../masks';
import * as masks from '../../masks';
import * as scores from '../../scores';
import { hostTensor } from '../../tensor/host';
import { normal } from '../../tensor/random';

const threading = process.getBuiltinModule('node:worker_threads');
const { Worker } = threading;
afterEach(() => {
  threading.Worker = Worker;
});

/** The workers started from now on. */
function spyOnWorkers(): InstanceType<typeof Worker>[] {
  const workers: InstanceType<typeof Worker>[] = [];
  threading.Worker = class extends Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      workers.push(this);
    }
  };
  return workers;
}

/** Attention that takes a good while on two threads, on inputs of its own; resolves when it is computed. */
async function longCall(runtime: Runtime, options?: AttentionOptions, rows = 6000): Promise<void> {
  const { out, lse } = runtime.scope(() => {
    const [q, k, v] = [1, 2, 3].map((seed) => runtime.random([1, rows, 4, 64], { seed }));
    return attention(q!, k!, v!, options);
  });
  const read = lse.read();
  out.dispose();
  lse.dispose();
  await read;
}

/** Rows of attention that takes seconds: whatever ends the call comes before its end, also where timers are late. */
const NEVER_DONE = 20_000;

const PADDED: TileShapes = { queries: [12, 2], keys: [3, 2], padding: [0, 1] };

/** Values [b, n, 2, 12] with one that is no number in the last head of all. */
function valuesOf(b: number, n: number): Float32Array {
  const values = normal(b * n * 2 * 12, 3);
  values[values.length - 500] = Number.NaN;
  return values;
}

/** What the reference computes for each mask, which all are held to. */
const known = new Map<string, Awaited<ReturnType<Tensor['read']>>[]>();

describe.each<[string, RuntimeOptions]>([
  ['relaxed kernels', { simd: 'relaxed', native: false }],
  ['baseline kernels', { simd: 'baseline', native: false }],
  ['machine code where there is some', { native: 'auto' }],
])('%s', (_, options) => {
  test.each([
    ['a window of two sequences', masks.band(20, 9), undefined, 2],
    ['a grid', masks.neighborhood({ grid: [36, 47], window: [5, 7] }), undefined],
    ['a grid with padded tiles', masks.neighborhood({ grid: [36, 47], window: 7 }, PADDED), undefined],
    ['heads that differ', masks.s2({ block: 16, localBlocks: 3, verticalStride: 9, headStep: 1 }), undefined],
    ['modified scores', masks.band(30, 0), scores.softcap(2)],
  ])('%s, where a task is several tiles of all heads', async (name, mask, score, b = 1) => {
    using runtime = await createRuntime({ backend: 'wasm', ...options, threads: 2 });
    const attend = async (each: Runtime) => {
      const n = 36 * 47;
      const q = each.random([b, n, 4, 20], { seed: 1 });
      const k = each.random([b, n, 2, 20], { seed: 2 });
      const v = each.tensor(valuesOf(b, n), [b, n, 2, 12], 'f32');
      const { out, lse } = await attention(q, k, v, { mask, score });
      return Promise.all([out.read(), lse.read()]);
    };
    if (!known.has(name)) {
      using reference = await createRuntime({ backend: 'reference' });
      known.set(name, await attend(reference));
    }
    for (const [at, values] of (await attend(runtime)).entries()) expectClose(values, known.get(name)![at]!, 1e-5);
  });

  test('give the same bits on 1, 2 and 4 threads, which cut tasks in their own way', async () => {
    const results: Buffer[] = [];
    const bias = hostTensor(normal(6 * 819, 6), [6, 819], 'f32');
    for (const threads of [1, 2, 4]) {
      using runtime = await createRuntime({ backend: 'wasm', ...options, threads });
      using q = runtime.random([2, 390, 6, 40], { seed: 1 });
      using k = runtime.random([2, 410, 3, 40], { seed: 2 });
      using v = runtime.random([2, 410, 3, 24], { seed: 3 });
      using a = runtime.random([200, 700], { seed: 4 });
      using b = runtime.random([700, 150], { seed: 5 });
      const score = scores.compose(scores.softcap(3), scores.relativeBias(bias));
      const settings = { window: [200, 20], score } as const;
      const { out, lse } = await attention(q, k, v, settings);
      const { gradCaptured, ...grads } = await attentionBackward(
        q,
        k,
        v,
        { out, lse, gradOut: out },
        { ...settings, captured: true },
      );
      const near = await attention(q, k, v, { window: [30, 5] });
      const whole = await attention(q, k, v);
      const all = [out, lse, near.out, whole.out, ...Object.values(grads), ...Object.values(gradCaptured)];
      all.push(await matmul(a, b));
      results.push(Buffer.concat(await Promise.all(all.map(async (x) => new Uint8Array((await x.read()).buffer)))));
    }
    expect(results.map((each) => each.equals(results[0] as Buffer))).toEqual([true, true, true]);
  });
});

// 32 key/value heads: on one and two threads tasks are whole heads, on four single tiles.
test('heads of short sequences come out the same whether their task packs them or not, and take less memory', async () => {
  const spike = scores.from((s, b, _h, q, k) => (b === 1 && q === 20 && k === 5 ? s / 0 : s / 2));
  const tokens = normal(8 * 50 * 8 * 12, 1);
  // A head with numbers beyond those that sums of exponentials can take.
  tokens[50 * 8 * 12] = Number.POSITIVE_INFINITY;
  const run = async (options: RuntimeOptions) => {
    using runtime = await createRuntime(options);
    using q = runtime.tensor(tokens, [8, 50, 8, 12]);
    using k = runtime.random([8, 45, 4, 12], { seed: 2 });
    using v = runtime.random([8, 45, 4, 10], { seed: 3 });
    const calls = [
      await attention(q, k, v),
      await attention(q, k, v, { mask: masks.causal(), scale: 3 }),
      await attention(q, k, v, { score: spike }),
    ];
    const read = await Promise.all(calls.flatMap(({ out, lse }) => [out.read(), lse.read()]));
    return { numbers: read.flatMap((part) => [...(part as Float32Array)]), peak: runtime.memory().peak };
  };
  const [one, two, four] = [await run({ threads: 1 }), await run({ threads: 2 }), await run({ threads: 4 })];
  expect(two).toEqual(one);
  expect(four.numbers).toEqual(one.numbers);
  expectClose(one.numbers, (await run({ backend: 'reference' })).numbers, 1e-5);
  // Pieces of working memory are whole cache lines.
  expect(Math.abs(four.peak - one.peak - 8 * 4 * 48 * (12 + 16) * 4)).toBeLessThan(256);
});

test('a query whose scores outgrow float32 leaves those of the next tile as they are', async () => {
  const spike = scores.from((s, _b, _h, q) => (q === 20 ? s / 0 : s / 2));
  using runtime = await createRuntime({ backend: 'wasm', threads: 1 });
  using q = runtime.random([1, 30, 2, 12], { seed: 1 });
  using k = runtime.random([1, 45, 1, 12], { seed: 2 });
  using v = runtime.random([1, 45, 1, 10], { seed: 3 });
  const plain = await (await attention(q, k, v, { score: scores.from((s) => s / 2) })).out.read();
  const spiked = await (await attention(q, k, v, { score: spike })).out.read();
  expect(spiked.subarray(24 * 20)).toEqual(plain.subarray(24 * 20));
});

// Keys and values of 9 MiB: on one thread tasks are four tiles, on four threads one.
test('tiles that go through the keys together come out as they do alone', async () => {
  const spike = scores.from((s, _b, _h, q, k) => (q === 700 && k === 5000 ? s / 0 : s));
  const results: Buffer[] = [];
  for (const threads of [1, 4]) {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    using q = runtime.random([1, 1550, 1, 128], { seed: 1 });
    using k = runtime.random([1, 9000, 1, 128], { seed: 2 });
    using v = runtime.random([1, 9000, 1, 128], { seed: 3 });
    const calls = await Promise.all([
      attention(q, k, v),
      attention(q, k, v, { scale: 2 }),
      attention(q, k, v, { mask: masks.or(masks.causal(), masks.strided(40)) }),
      attention(q, k, v, { score: spike }),
    ]);
    const all = calls.flatMap(({ out, lse }) => [out, lse]);
    results.push(Buffer.concat(await Promise.all(all.map(async (x) => new Uint8Array((await x.read()).buffer)))));
  }
  expect(results[1]?.equals(results[0] as Buffer)).toBe(true);
  const infinite = new Float32Array(new Uint8Array(results[0] as Buffer).buffer).filter((x) => !Number.isFinite(x));
  expect(infinite.length).toBeGreaterThan(0);
  expect(infinite.length).toBeLessThan(200);
});

test('every half-precision value goes through attention unchanged', async () => {
  using runtime = await createRuntime({ backend: 'wasm' });
  const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
  using q = runtime.tensor(new Float16Array(256), [1, 1, 256, 1]);
  using k = runtime.tensor(new Float16Array(256), [1, 1, 256, 1]);
  using v = runtime.tensor(all, [1, 1, 256, 256], 'f16');
  const { out } = await attention(q, k, v);
  const values = new Float16Array((await out.read()).buffer as ArrayBuffer);
  // Sums begin at 0, so that a lone -0 comes out as 0.
  expect([...values]).toEqual([...new Float16Array(all.buffer)].map((x) => x + 0));
});

test('says what was chosen', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2, simd: 'baseline', native: false });
  expect(runtime.explain()).toBe(
    'backend: wasm\nkernels: baseline SIMD (as asked)\nnative code: none (as asked)\nthreads: 2 (as asked)\nmemory: up to 4096 MiB',
  );
});

test('progress rises to 1', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const shares: number[] = [];
  await longCall(runtime, { onProgress: (share) => shares.push(share) }, NEVER_DONE / 2);
  expect(shares.length).toBeGreaterThan(1);
  expect(shares).toEqual([...shares].sort((a, b) => a - b));
  expect(shares.at(-1)).toBe(1);
});

test.each([1, 2])(
  'the backward pass shows its progress and ends midway if cancelled or if nobody can hear it: %i threads',
  async (threads) => {
    using runtime = await createRuntime({ backend: 'wasm', threads });
    const gradients = async (control: Control, rows = NEVER_DONE) => {
      using x = runtime.random([1, rows, 1, 64], { seed: 1 });
      using lse = runtime.tensor(new Float32Array(rows), [1, rows, 1]);
      const { gradQ, gradK, gradV } = attentionBackward(x, x, x, { out: x, lse, gradOut: x }, control);
      const read = gradQ.read();
      for (const grad of [gradQ, gradK, gradV]) grad.dispose();
      await read;
    };
    const all: number[] = [];
    await gradients({ onProgress: (share) => all.push(share) }, 3000);
    expect(all).toEqual([...all].sort((a, b) => a - b));
    expect(all.at(-1)).toBe(1);
    const shares: number[] = [];
    const controller = new AbortController();
    const onProgress = (share: number) => {
      shares.push(share);
      if (share > 0) controller.abort(new Error('changed my mind'));
    };
    await expect(gradients({ signal: controller.signal, onProgress })).rejects.toThrow('changed my mind');
    expect(runtime.memory().live).toBe(0);
    expect(shares.some((share) => share > 0 && share < 1)).toBe(true);
    let calls = 0;
    const deaf = gradients({
      onProgress: () => {
        calls++;
        throw new RangeError('deaf');
      },
    });
    await expect(deaf).rejects.toThrow('deaf');
    expect([runtime.memory().live, calls]).toEqual([0, 1]);
  },
);

test('a cancelled call rejects with the reason, frees what it took, and the next call works', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const controller = new AbortController();
  const pending = longCall(runtime, { signal: controller.signal }, NEVER_DONE);
  const behind = longCall(runtime);
  setTimeout(() => controller.abort(new Error('changed my mind')), 20);
  await expect(pending).rejects.toThrow('changed my mind');
  await behind;
  expect(runtime.memory().live).toBe(0);
});

/** Ends also those that took the place of workers which had not begun. */
const endAll = (workers: readonly { terminate(): unknown }[]) => () => {
  for (const worker of workers) worker.terminate();
};

test('workers that die make the pending call reject, and the pool recovers', async () => {
  const workers = spyOnWorkers();
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  expect(workers.length).toBe(2);
  const pending = longCall(runtime, { onProgress: endAll(workers) }, NEVER_DONE);
  await expect(pending).rejects.toThrow('a worker thread died: exit code 1; the next call starts new ones');
  expect(runtime.memory().live).toBe(0);
  const ended = workers.length;
  await longCall(runtime);
  expect(workers.length).toBe(ended + 2);
  expect(runtime.memory().live).toBe(0);
});

test('calls behind one whose workers die are computed, unless they follow from it', async () => {
  const workers = spyOnWorkers();
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  using q = runtime.random([1, NEVER_DONE, 1, 64], { seed: 1 });
  const { out, lse } = attention(q, q, q, { onProgress: endAll(workers) });
  const sum = add(lse, lse);
  const apart = matmul(q.slice(1, 0, 1).reshape([1, 64]), q.reshape([64, NEVER_DONE]));
  const reads = [out, sum].map((tensor) => expect(tensor.read()).rejects.toThrow('a worker thread died'));
  await Promise.all(reads);
  expect((await apart.read()).every(Number.isFinite)).toBe(true);
  await runtime.finish();
});

test('a worker that dies while idle is replaced by the next call', async () => {
  const workers = spyOnWorkers();
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  await workers[1]!.terminate();
  await longCall(runtime);
  expect(workers.length).toBe(4);
});

test('disposing the runtime rejects the pending call and those behind it', async () => {
  const runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const calls = [longCall(runtime, {}, NEVER_DONE), longCall(runtime)];
  const outcomes = Promise.allSettled(calls);
  await new Promise((resolve) => setTimeout(resolve, 20));
  runtime.dispose();
  for (const outcome of await outcomes) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { name: 'DisposedError' } });
  }
});

test('workers that cannot start leave the calling thread, unless threads were asked for', async () => {
  threading.Worker = class {
    constructor() {
      throw new Error('no threads today');
    }
  } as never;
  using runtime = await createRuntime({ backend: 'wasm' });
  expect(runtime.explain()).toContain(
    'threads: 1, the calling one (worker threads could not be started: Error: no threads today)',
  );
  const shares: number[] = [];
  await longCall(runtime, { onProgress: (share) => shares.push(share) });
  expect(shares.length).toBeGreaterThan(2);
  const onProgress = () => {
    throw new RangeError('deaf');
  };
  await expect(async () => longCall(runtime, { onProgress })).rejects.toThrow('deaf');
  const controller = new AbortController();
  const pending = longCall(runtime, { signal: controller.signal }, NEVER_DONE);
  setTimeout(() => controller.abort(new Error('stop')), 20);
  await expect(pending).rejects.toThrow('stop');
  expect(runtime.memory().live).toBe(0);
  const asked: RuntimeOptions = { backend: 'wasm', threads: 2 };
  await expect(async () => createRuntime(asked)).rejects.toThrow(
    'worker threads could not be started: Error: no threads today',
  );
});

test('many small calls hold no memory', async () => {
  using runtime = await createRuntime({ backend: 'wasm' });
  using q = runtime.random([1, 64, 1, 16], { seed: 1 });
  const call = async () => {
    const { out, lse } = await attention(q, q, q);
    out.dispose();
    lse.dispose();
  };
  // The first loads the kernels.
  await call();
  const before = runtime.memory();
  for (let calls = 1; calls < 2000; calls++) await call();
  expect(runtime.memory()).toMatchObject({ live: before.live, reserved: before.reserved });
});

test('more bytes than the heap can have are one clear error, and nothing is leaked', async () => {
  using runtime = await createRuntime({ backend: 'wasm' });
  expect(() => runtime.empty([2 ** 20, 2 ** 20])).toThrow('cannot allocate 4398046511104 bytes');
  expect(runtime.memory().live).toBe(0);
});
