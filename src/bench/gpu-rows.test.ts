import { describe, expect, inject, test } from 'vitest';
import { UnsupportedError } from '../errors';
import { createRuntime } from '../ops/create-runtime';
import { gpuRows } from './gpu-rows';
import type { BenchOptions } from './options';
import { MASKS } from './problem';
import { IN_SOFTWARE } from './report';
import { runSuite } from './run';
import { Runtimes } from './runtimes';
import { DEFAULT_OPTIONS } from './suite';
import { attentionSuite } from './suites/attention';
import { backwardSuite } from './suites/backward';

const TINY: BenchOptions = {
  ...DEFAULT_OPTIONS,
  n: [20],
  d: [8],
  masks: ['causal'],
  heads: 2,
  backend: 'webgpu',
  threads: attentionSuite.defaults.threads as number,
  simd: undefined,
  repeats: 2,
  limit: 60,
  calls: 1,
  peers: false,
  browser: false,
  only: [],
  inProcess: true,
};
const patience = { limit: 60_000, warmUp: 5, sample: 1 };
const onReference = () => ({ runtimes: new Runtimes(() => createRuntime({ backend: 'reference' })), patience });

test('Saccade is measured in f32 and in f16 beside a copy of as many bytes', async () => {
  const { rows, notes, measures } = await runSuite(attentionSuite, TINY, onReference());
  expect(rows.map(({ name, status, threads, goal }) => [name, status, threads, goal])).toEqual(
    ['saccade', 'saccade-f16', 'copy'].map((name) => [name, 'ok', undefined, undefined]),
  );
  const [f32, f16, copy] = rows.map((row) => row.measures);
  expect(f32?.error).toBeLessThan(1e-6);
  // Its inputs are rounded before the reference is computed: only the result's own rounding is left.
  expect(f16?.error).toBeLessThan(2 ** -11);
  expect(f16?.error).toBeGreaterThan(1e-6);
  expect(copy).toMatchObject({ error: 0 });
  expect((copy?.bandwidth ?? 0) * (copy?.time ?? 0) * 1e6).toBeCloseTo(4 * 4 * 20 * 2 * 8);
  expect(copy?.rate).toBeUndefined();
  expect(measures).toContain('bandwidth');
  // The reference imitates no GPU.
  expect(notes).toEqual([expect.stringContaining('in a row')]);
});

test('a row can be measured again by its command, beside the baseline', async () => {
  const { rows } = await runSuite(attentionSuite, { ...TINY, only: ['copy'] }, onReference());
  expect(rows.map(({ name }) => name)).toEqual(['saccade', 'copy']);
  expect(rows[1]?.command).toBe(
    'saccade bench attention --n 20 --d 8 --masks causal --heads 2 --backend webgpu --repeats 2 --limit 60 --only copy',
  );
});

test('peers that fail are rows with a reason', async () => {
  const report = await runSuite(attentionSuite, TINY, { ...onReference(), peers: '/nowhere' });
  expect(report.rows.map(({ name, label, status }) => [name, label, status]).slice(3)).toEqual([
    ['pytorch', 'PyTorch f32', 'failed'],
    ['pytorch-f16', 'PyTorch f16', 'failed'],
  ]);
});

test('goals are for GPUs, not for processors that imitate them', () => {
  const problem = { n: 8192, h: 8, d: 64, mask: MASKS.full };
  const goals = (isSoftware: boolean, changed = {}) =>
    gpuRows({ gpu: { isSoftware } }, { ...problem, ...changed }).map(({ goal }) => goal);
  expect(goals(false)).toEqual([
    { measure: 'peakShare', atLeast: 0.35 },
    { measure: 'ratio', atMost: 1 / 1.5 },
    undefined,
  ]);
  for (const none of [goals(true), goals(false, { n: 4096 }), goals(false, { mask: MASKS.causal })]) {
    expect(none).toEqual([undefined, undefined, undefined]);
  }
});

test.each([
  [{ threads: 57 }, /--backend webgpu has no threads and no SIMD to choose/],
  [{ simd: 'relaxed' }, /--backend webgpu has no threads and no SIMD to choose/],
  [{ browser: true }, /--browser measures wasm and webgpu beside each other: leave --backend out/],
  [{ only: ['tfjs'] }, /--only of bench attention must be among saccade, saccade-f16, copy, pytorch, .* got 'tfjs'/],
] as const)('%j does not go together with the GPU', async (changed, message) => {
  await expect(async () => runSuite(attentionSuite, { ...TINY, ...changed }, onReference())).rejects.toThrow(message);
});

test('without an adapter the whole benchmark is refused with the remedy', async () => {
  const runtimes = new Runtimes(async () => {
    throw new UnsupportedError('WebGPU found no adapter: install a driver');
  });
  await expect(async () => runSuite(attentionSuite, TINY, { runtimes })).rejects.toThrow('install a driver');
});

describe.runIf(inject('hasGpu'))('on the GPU at hand', () => {
  test('attention is right, has a share of the GPU’s own peak, and the report names the card', async () => {
    const { rows, runtime, notes } = await runSuite(attentionSuite, TINY, { patience });
    for (const { status, threads, measures } of rows) {
      expect([status, threads]).toEqual(['ok', undefined]);
      expect(measures.ratio).toBeGreaterThan(0);
      expect(measures.memory).toBeGreaterThan(0);
    }
    for (const { measures } of rows.slice(0, 2)) {
      expect(measures.peakShare).toBeGreaterThan(0);
      expect(measures.peakShare).toBeLessThan(1);
    }
    const adapter = runtime.find((fact) => fact.startsWith('adapter: '));
    expect(adapter).toMatch(/^adapter: \S/);
    expect(notes?.includes(IN_SOFTWARE)).toBe(adapter?.includes('software'));
  });

  test('gradients are measured beside the forward pass', async () => {
    const { rows } = await runSuite(backwardSuite, TINY, { patience });
    expect(rows.map(({ name, label, status }) => [name, label, status])).toEqual([
      ['forward', 'forward', 'ok'],
      ['backward', 'backward', 'ok'],
    ]);
    for (const { measures } of rows) expect(measures.peakShare).toBeGreaterThan(0);
  });
});
