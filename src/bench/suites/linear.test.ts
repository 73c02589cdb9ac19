import { expect, test } from 'vitest';
import { createRuntime } from '../../ops/create-runtime';
import { gateOf } from '../gate';
import { causalLinear } from '../linear-operations';
import type { BenchOptions } from '../options';
import { inputsOf, MASKS, type Problem } from '../problem';
import { type BenchRow, formatGoal } from '../report';
import { runSuite } from '../run';
import { Runtimes } from '../runtimes';
import { saccade } from '../saccade';
import { DEFAULT_OPTIONS } from '../suite';
import { linearSuite } from './linear';

const TINY: BenchOptions = {
  ...DEFAULT_OPTIONS,
  n: [40, 300],
  d: [4],
  masks: ['causal'],
  heads: 2,
  backend: 'wasm',
  threads: 2,
  simd: undefined,
  repeats: 1,
  limit: 30,
  calls: 1,
  peers: false,
  browser: false,
  only: [],
  inProcess: true,
};

const onReference = () => ({
  runtimes: new Runtimes(() => createRuntime({ backend: 'reference' })),
  patience: { limit: 30_000, warmUp: 1, sample: 1 },
});

const linear = (only: string[]) => runSuite(linearSuite, { ...TINY, only }, onReference());

test('linear attention is measured by length, its tokens beside those of the shortest', async () => {
  const { rows } = await linear(['linear-40', 'linear-300']);
  const [short, long] = rows as [BenchRow, BenchRow];
  expect(rows.map(({ n, mask, status }) => [n, mask, status])).toEqual([
    [40, 'causal', 'ok'],
    [300, 'causal', 'ok'],
  ]);
  const [first, second] = [short, long].map(({ n, measures: { time = 0 } }) => n / time) as [number, number];
  expect(short.measures.ratio).toBe(1);
  expect(long.measures.ratio).toBeCloseTo(second / first);
  expect(formatGoal(long.goal!)).toBe('0.900× to 1.10×');
  expect(short.goal).toEqual({ measure: 'working', atMost: 16 * 64 * 64 * 4 });
  for (const { n, measures } of rows) {
    expect((measures.time ?? 0) * (measures.rate ?? 0) * 1e6).toBeCloseTo(n * 2 * (48 * 128 + 4 * 64 * 64));
    expect(measures.error).toBeLessThan(1e-6);
    expect(measures.working).toBeLessThan(measures.memory ?? 0);
  }
});

test('it stands beside exact attention of the same inputs, and one thread beside all', async () => {
  const { rows } = await linear(['beside-exact-128', 'forward', 'head']);
  expect(rows.map(({ name, n, h }) => `${name} ${n} ${h}`)).toEqual([
    'forward-1-thread 19 2',
    'forward 19 2',
    'head-1-thread 150 1',
    'head 150 1',
    'exact-128 128 2',
    'beside-exact-128 128 2',
  ]);
  expect(rows.every(({ status }) => status === 'ok')).toBe(true);
});

test('a decode step stands beside a copy of its state, and counts no arithmetic', async () => {
  const { rows } = await linear(['step']);
  expect(rows).toMatchObject([
    { name: 'copy', n: 1, h: 32, d: 128, status: 'ok' },
    { name: 'step', n: 1, h: 32, d: 128, status: 'ok', goal: { measure: 'ratio', atLeast: 0.6 } },
  ]);
  for (const { measures } of rows) {
    expect(measures.rate).toBeUndefined();
    expect(measures.error).toBeLessThan(1e-6);
  }
});

test('the chunked delta rule stands beside its recurrence', async () => {
  const { rows } = await linear(['delta']);
  expect(rows.map(({ name, n, status }) => `${name} ${n} ${status}`)).toEqual(['delta-recurrent 10 ok', 'delta 10 ok']);
  for (const { measures } of rows) expect(measures.error).toBeLessThan(1e-6);
});

test('of a long result the last rows are checked, which depend on all before', async () => {
  const problem: Problem = { n: 300, h: 2, d: 4, mask: MASKS.causal, operation: causalLinear };
  const inputs = inputsOf(problem);
  const { signal } = new AbortController();
  const session = await saccade(onReference().runtimes, {}).open({ problem, inputs }, signal);
  await session.time(1, signal);
  const right = await session.result(signal);
  const gate = await gateOf(problem, inputs);
  expect(gate(right)).toBeLessThan(1e-6);
  for (const row of [0, 20, 236, 250, 299]) {
    const wrong = right.slice();
    wrong[(row * 2 + 1) * 4] = 9;
    expect(() => gate(wrong)).toThrow('of the largest result');
  }
});
