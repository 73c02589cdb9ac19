import { expect, test } from 'vitest';
import { createRuntime } from '../../ops/create-runtime';
import { chain, chainArithmetic, chainGradients, OPS } from '../chain-operations';
import { gateOf } from '../gate';
import type { BenchOptions } from '../options';
import { inputsOf, MASKS, type Problem } from '../problem';
import { runSuite } from '../run';
import { Runtimes } from '../runtimes';
import { saccade } from '../saccade';
import { chainSuite } from './chain';

const OPTIONS = { ...chainSuite.defaults, threads: 1, limit: 30, repeats: 2, only: [] } as unknown as BenchOptions;
const patience = { limit: 30_000, warmUp: 1, sample: 1 };

test.each([
  chain(false),
  chain(true),
  chainArithmetic(false),
  chainArithmetic(true),
  chainGradients(false),
  chainGradients(true),
])('$name passes its gate again and again, and leaks nothing', async (operation) => {
  const problem: Problem = { n: 1, h: 1, d: 10, mask: MASKS.full, operation };
  const inputs = inputsOf(problem);
  const runtimes = new Runtimes(() => createRuntime({ threads: 2 }));
  const { signal } = new AbortController();
  const runtime = await runtimes.get({});
  const session = await saccade(runtimes, {}).open({ problem, inputs }, signal);
  const gate = await gateOf(problem, inputs);
  for (const calls of [1, 3]) {
    await session.time(calls, signal);
    expect(gate(await session.result(signal))).toBeLessThan(5e-6);
  }
  const wrong = (await session.result(signal)).slice();
  wrong[3] = 0;
  expect(() => gate(wrong)).toThrow('differs from the float64 reference');
  session.close();
  expect(runtime.memory().live).toBe(0);
  await runtimes.dispose();
});

test('what an op costs is the chain less its arithmetic, by op', async () => {
  const { rows } = await runSuite(chainSuite, { ...OPTIONS, repeats: 1 }, { patience });
  expect(rows.map(({ name, status }) => [name, status])).toEqual(chainSuite.names(OPTIONS).map((name) => [name, 'ok']));
  const [arithmetic, awaited] = rows.map(({ measures }) => measures);
  expect(arithmetic).not.toHaveProperty('overhead');
  expect(awaited?.overhead).toBeCloseTo((awaited!.time! - arithmetic!.time!) / OPS, 9);
  expect(rows.filter(({ goal }) => goal).map(({ name }) => name)).toEqual(['chain-1', 'tape-1', 'queued-2']);
});

test('of the rows those asked for are measured, beside their arithmetic', async () => {
  const { rows } = await runSuite(chainSuite, { ...OPTIONS, repeats: 1, only: ['queued-2'] }, { patience });
  expect(rows.map(({ name }) => name)).toEqual(['behind-2', 'queued-2']);
});
