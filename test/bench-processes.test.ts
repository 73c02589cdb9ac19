/** Suites that start processes of what is built. */
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { builds, runAgainst } from '../src/bench/against';
import type { BenchOptions } from '../src/bench/options';
import { runSuite } from '../src/bench/run';
import { primitivesSuite } from '../src/bench/suites/primitives';
import { startSuite } from '../src/bench/suites/start';

const root = resolve(import.meta.dirname, '..');

test('bench start times new processes, and checks what they compute', async () => {
  const options = { ...startSuite.defaults, threads: 1, repeats: 1, only: ['help', 'runtime', 'attention'] };
  const { rows } = await runSuite(startSuite, options as BenchOptions);
  expect(rows).toMatchObject([
    { name: 'help', status: 'ok', measures: { rounds: 1 } },
    { name: 'runtime', status: 'ok' },
    { name: 'attention', status: 'ok' },
  ]);
  expect(rows[2]?.measures.error).toBeLessThan(1e-5);
});

test('builds are timed in a process each, and a row of another name is not compared', async () => {
  const options = { ...primitivesSuite.defaults, threads: 1, repeats: 2, only: ['small-add'] } as BenchOptions;
  const both = builds(primitivesSuite, options, { against: root });
  const [row] = await both.planned();
  const extended = { ...both, planned: async () => [row!, { ...row!, name: 'other' }] };
  const { rows } = await runAgainst(primitivesSuite, { against: root, builds: extended });
  expect(rows).toMatchObject([
    { name: 'small-add', n: 1, d: 64, ratio: { repeats: 2 }, own: { repeats: 1 } },
    { name: 'other', verdict: 'not compared', reason: 'no such row' },
  ]);
  expect(rows[0]?.command).toBe('saccade bench primitives --threads 1 --repeats 2 --only small-add');
});
