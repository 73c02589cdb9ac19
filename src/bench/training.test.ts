import { beforeAll, describe, expect, test } from 'vitest';
import { has } from '../../test/has';
import { createRuntime } from '../ops/create-runtime';
import { gateOf } from './gate';
import { givenOf } from './given';
import { peersSource } from './peers';
import { inputsOf, MASKS, type Problem } from './problem';
import { pytorch } from './pytorch';
import { memoryBound, type Training, tapeAndUpdate, trainingStep } from './training-operations';
import { problemOfTraining, TRAININGS } from './trainings';

const EXTENTS = { n: 10, h: 2, d: 4, mask: MASKS.causal };
const ADAMW = { learningRate: 0.01, betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0.1 } as const;
const SMALL = { batch: 2, layers: 2, hidden: 12, vocabulary: 24, steps: 4 };
const SMALL_ADAMW = { ...SMALL, optimizer: { name: 'adamw', ...ADAMW } } as const satisfies Training;
const SMALL_MUON = {
  ...SMALL,
  optimizer: { name: 'muon', learningRate: 0.02, momentum: 0.9, weightDecay: 0.1, adamw: ADAMW },
} as const satisfies Training;

/** What the float64 reference gives. */
const losses: Record<string, readonly number[]> = {};
const problemOf = (training: Training): Problem => ({
  ...EXTENTS,
  operation: trainingStep(training, losses[training.optimizer.name] as readonly number[]),
});
const taskOf = (problem: Problem) => ({ problem, inputs: inputsOf(problem) });

beforeAll(async () => {
  using runtime = await createRuntime({ backend: 'reference' });
  for (const training of [SMALL_ADAMW, SMALL_MUON]) {
    const problem = problemOf(training);
    const call = problem.operation!.open(runtime, taskOf(problem));
    losses[training.optimizer.name] = [...(await call.result())];
    for (const tensor of call.tensors) tensor.dispose();
  }
});

test('steps give the losses of the reference, which fall, and hold nothing afterwards', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  for (const training of [SMALL_ADAMW, SMALL_MUON, { ...SMALL_ADAMW, recompute: true }]) {
    const problem = problemOf(training);
    const call = problem.operation!.open(runtime, taskOf(problem));
    await call.call({});
    expect((await gateOf(problem, inputsOf(problem)))(await call.result())).toBeLessThan(1e-6);
    for (const tensor of call.tensors) tensor.dispose();
    await runtime.finish();
    expect(runtime.memory().live).toBe(0);
  }
  const [first, , , last] = losses.adamw as [number, number, number, number];
  expect(first).toBeCloseTo(Math.log(SMALL.vocabulary), 1);
  expect(last).toBeLessThan(first);
});

test('tape and update alone move parameters as AdamW does', async () => {
  using runtime = await createRuntime({ backend: 'wasm', threads: 2 });
  const problem: Problem = { ...EXTENTS, operation: tapeAndUpdate(SMALL_ADAMW) };
  const call = problem.operation!.open(runtime, taskOf(problem));
  await call.call({});
  await call.call({});
  expect((await gateOf(problem, inputsOf(problem)))(await call.result())).toBeLessThan(1e-6);
  for (const tensor of call.tensors) tensor.dispose();
  await runtime.finish();
  expect(runtime.memory().live).toBe(0);
});

test('the decoder that is measured has 10M parameters, 130 GFLOP a step and 20 known losses', async () => {
  const problem = problemOfTraining('adamw');
  expect(problem.operation!.bytes(problem) / 4).toBe(10_059_840);
  expect(problem.operation!.flops(problem)).toBeCloseTo(129.6e9, -8);
  expect(memoryBound(problem, TRAININGS.adamw) / 2 ** 20).toBeCloseTo(636, 0);
  for (const [name, { steps }] of Object.entries(TRAININGS))
    expect(
      await problemOfTraining(name as keyof typeof TRAININGS).operation!.expected(problem, inputsOf(problem)),
    ).toMatchObject([{ known: [{ numbers: { length: steps } }] }]);
});

/** The check of a peer's module, which `prepare` is of. */
async function check(prepare: (given: object) => PromiseLike<PeerCall> | PeerCall) {
  const problem = problemOf(SMALL_ADAMW);
  const { tensors, settings } = givenOf(taskOf(problem));
  const numbers = Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, data]));
  const call = await prepare({ ...numbers, ...settings });
  await call.run();
  expect((await gateOf(problem, inputsOf(problem)))(await call.result())).toBeLessThan(2e-6);
}
interface PeerCall {
  run(): Promise<void>;
  result(): Promise<Float32Array>;
}
const peerModule = (name: string) => import(new URL(`../../peers/${name}.mjs`, import.meta.url).href);

test('jax-js gives the losses of the reference', async () => {
  const { open } = await peerModule('jax-js-training');
  await check((await open({ threads: 1 })).prepare);
});

test('TensorFlow.js gives the losses of the reference', async () => {
  const tf = await import('@tensorflow/tfjs-core');
  await import('@tensorflow/tfjs-backend-cpu');
  await tf.setBackend('cpu');
  const { prepareWith } = await peerModule('tfjs-decoder');
  const before = tf.memory().numTensors;
  await check((given) => prepareWith(tf, given));
  expect(tf.memory().numTensors - before).toBe(3 * (2 + 2 * 9) + 3);
});

describe.runIf(has('pytorch'))('PyTorch', () => {
  test.each([SMALL_ADAMW, SMALL_MUON])('gives the losses of the reference', async (training) => {
    const problem = problemOf(training);
    const { signal } = new AbortController();
    const setting = { backend: 'wasm', threads: 2, script: 'pytorch_training.py' } as const;
    const session = await pytorch('pytorch', peersSource(), setting).open(taskOf(problem), signal);
    expect(await session.time(2, signal)).toBeGreaterThan(0);
    expect((await gateOf(problem, inputsOf(problem)))(await session.result(signal))).toBeLessThan(2e-6);
    session.close();
  });
});
