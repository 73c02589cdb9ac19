/** Workers that end, by themselves or by others, whatever they are at. */
import { createHash } from 'node:crypto';
import { afterAll, expect, test } from 'vitest';
import { outcomeOf } from '../../../test/expect';
import { BackendError, DisposedError } from '../../errors';
import { add, attention, createRuntime, matmul, type Runtime, type Tensor } from '../../index';
import { uniformGenerator } from '../../tensor/random';

const threading = process.getBuiltinModule('node:worker_threads');
const { Worker } = threading;

/** Before so many steps of workers the one whose turn it is ends itself; none does if it is 0. */
const steps = new Int32Array(new SharedArrayBuffer(4));
const COUNTED = `{
  const { workerData: steps } = require('node:worker_threads');
  const { load, sub } = Atomics;
  const step = () => {
    if (load(steps, 0) > 0 && sub(steps, 0, 1) === 1) process.exit(1);
  };
  for (const name of ['add', 'sub', 'or', 'notify', 'wait', 'compareExchange']) {
    const take = Atomics[name];
    Atomics[name] = (...given) => (step(), take(...given));
  }
  const { Module } = WebAssembly;
  WebAssembly.Module = function (bytes) {
    step();
    return new Module(bytes);
  };
}\n`;

/** All workers that were started: what ends each, and its end. */
const workers: { readonly kill: () => Promise<unknown>; readonly end: Promise<unknown> }[] = [];
/** How long a runtime takes to end one. */
let milliseconds = 0;
threading.Worker = class extends Worker {
  constructor(source: string, options: object) {
    super(COUNTED + source, { ...options, workerData: steps });
    const end = new Promise((resolve) => this.once('exit', resolve));
    workers.push({ kill: () => super.terminate(), end });
  }

  override async terminate() {
    if (milliseconds > 0) await pause(milliseconds);
    return super.terminate();
  }
} as never;
afterAll(() => {
  threading.Worker = Worker;
});

/** Jobs with the calling thread and for workers alone, of one phase and more. */
function calls(runtime: Runtime): Record<string, Tensor> {
  return runtime.scope(() => {
    const [q, k, a] = [runtime.random([1, 1400, 4, 16]), runtime.random([1, 300, 4, 32]), runtime.random([300, 300])];
    const [product, short, long] = [matmul(a, a), attention(k, k, k).out, attention(q, q, q).out];
    return { product, short, long, follows: add(long, long) };
  });
}

/** A digest of each result, or why there is none; disposes them. */
async function outcomesOf(results: Record<string, Tensor>): Promise<Record<string, unknown>> {
  const outcomes = Object.entries(results).map(async ([name, x]) => {
    const outcome = outcomeOf(x).then((numbers) =>
      createHash('sha1')
        .update(numbers as Float32Array)
        .digest('hex'),
    );
    return [name, await outcome.catch((error) => error)];
  });
  return Object.fromEntries(await Promise.all(outcomes));
}

/** So many calls that the calling thread waits for those ahead. */
function flood(runtime: Runtime): Promise<unknown> {
  using one = runtime.tensor([1], [1]);
  for (let call = 0; call < 5000; call++) add(one, one).dispose();
  return outcomeOf(add(one, one));
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function keepBusy(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
}

test('workers end at any of forty moments: each result is right or says so, and the next call works', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const expected = await outcomesOf(calls(runtime));
  const next = uniformGenerator(26);
  let [failed, ended] = [0, 0];
  for (let moment = 0; moment < 40; moment++) {
    const [waits, bySteps, all] = [moment % 2 === 0, moment % 4 < 2, moment % 8 > 5];
    const own = workers.slice(-2);
    if (bySteps) steps[0] = 1 + Math.floor(100 * next());
    const results = calls(runtime);
    const delay = 20 * next();
    if (!waits) await pause(delay);
    else if (!bySteps) keepBusy(delay / 2);
    if (!bySteps) for (const worker of all ? own : own.slice(moment % 3 > 0 ? 1 : 0).slice(0, 1)) void worker.kill();
    const sum = waits ? flood(runtime) : undefined;
    for (const [name, outcome] of Object.entries(await outcomesOf(results))) {
      if (outcome instanceof BackendError) expect(outcome.message).toMatch(/^a worker thread died: exit code 1/);
      else expect(outcome, `${name}, moment ${moment}`).toEqual(expected[name]);
      failed += Number(outcome instanceof BackendError);
    }
    if (sum) expect(await sum).toEqual(Float32Array.of(2));
    if (!bySteps || Atomics.exchange(steps, 0, 0) <= 0) {
      await Promise.all(own.map(({ end }) => end));
      ended++;
    }
    expect(await outcomesOf(calls(runtime)), `after moment ${moment}`).toEqual(expected);
    expect(runtime.memory().live).toBe(0);
  }
  await runtime.finish();
  expect(ended).toBeGreaterThan(20);
  expect(failed).toBeGreaterThan(5);
});

test('a runtime that is disposed while a worker ends', async () => {
  for (const moment of [1, 4, 9, 30]) {
    const runtime = await createRuntime({ backend: 'wasm', threads: 2 });
    const expected = await outcomesOf(calls(runtime));
    steps[0] = moment;
    const outcomes = outcomesOf(calls(runtime));
    await pause(moment % 3);
    runtime.dispose();
    for (const [name, outcome] of Object.entries(await outcomes))
      if (!(outcome instanceof BackendError || outcome instanceof DisposedError))
        expect(outcome).toEqual(expected[name]);
    steps[0] = 0;
  }
});

test('a job from which threads go since another ended is not taken to be done', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  using q = runtime.random([1, 4000, 4, 32]);
  const expected = await outcomeOf(attention(q, q, q));
  let failed = 0;
  milliseconds = 50;
  // The threads left may finish the job before the runtime learns of the end.
  for (let attempt = 0; attempt < 20 && failed === 0; attempt++) {
    const own = workers.slice(-2);
    void own.at(-1)?.kill();
    const outcome = await outcomeOf(attention(q, q, q)).catch((error) => error);
    if (outcome instanceof BackendError) expect(outcome.message).toMatch(/^a worker thread died/);
    else expect(outcome).toEqual(expected);
    failed += Number(outcome instanceof BackendError);
    await Promise.all(own.map(({ end }) => end));
  }
  milliseconds = 0;
  expect(failed).toBe(1);
});
