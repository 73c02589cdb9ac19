import { expect, test } from 'vitest';
import { createRuntime } from '../../ops/create-runtime';
import type { BenchOptions } from '../options';
import type { BenchRow } from '../report';
import { runSuite } from '../run';
import { Runtimes } from '../runtimes';
import { DEFAULT_OPTIONS } from '../suite';
import { backwardSuite } from './backward';

const TINY: BenchOptions = {
  ...DEFAULT_OPTIONS,
  n: [4],
  d: [4],
  masks: ['causal'],
  heads: 1,
  backend: 'wasm',
  threads: 2,
  simd: undefined,
  repeats: 2,
  limit: 30,
  calls: 1,
  peers: false,
  browser: false,
  only: [],
  inProcess: true,
};

test('gradients are measured beside the forward pass, by their own arithmetic', async () => {
  const { rows } = await runSuite(backwardSuite, TINY, {
    runtimes: new Runtimes(() => createRuntime({ backend: 'reference' })),
    patience: { limit: 30_000, warmUp: 1, sample: 1 },
  });
  expect(rows.map(({ name, mask }) => `${name} ${mask}`)).toEqual([
    'forward-1-thread causal',
    'backward-1-thread causal',
    'forward causal',
    'backward causal',
  ]);
  const work = ({ measures: { time = 0, rate = 0 } }: BenchRow) => Math.round(time * rate * 1e6);
  const pairs = 4 + 3 + 2 + 1;
  expect(rows.map(work)).toEqual([4, 10, 4, 10].map((products) => products * 4 * pairs));
  for (const { status, measures, goal } of rows) {
    expect(status).toBe('ok');
    // It is set for longer sequences.
    expect(goal).toBeUndefined();
    expect(measures.error).toBeLessThan(1e-6);
  }
});
