import { expect, test, vi } from 'vitest';
import { createRuntime } from '../ops/create-runtime';
import type { BenchOptions } from './options';
import { type BenchReport, INCOMPLETE, MEASURES, type MeasureName, reaches } from './report';
import { runSuite } from './run';
import { Runtimes } from './runtimes';
import { DEFAULT_OPTIONS } from './suite';
import { suites } from './suites';
import { attentionSuite } from './suites/attention';
import { memorySuite } from './suites/memory';
import { overheadSuite } from './suites/overhead';
import { threadsSuite } from './suites/threads';
import { formatReport } from './table';

const TINY: BenchOptions = {
  ...DEFAULT_OPTIONS,
  n: [4, 6],
  d: [4],
  masks: ['full', 'causal'],
  heads: 1,
  backend: 'wasm',
  threads: 2,
  simd: undefined,
  repeats: 2,
  limit: 30,
  calls: 20,
  peers: false,
  browser: false,
  only: [],
  inProcess: true,
};

const onReference = () => ({
  runtimes: new Runtimes(() => createRuntime({ backend: 'reference' })),
  patience: { limit: 30_000, warmUp: 5, sample: 1 },
});

test('a report is plain JSON with a format, a version, the machine and a row for each contender and problem', async () => {
  const report = await runSuite(attentionSuite, { ...TINY, repeats: 1 }, onReference());
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  expect(report).toMatchObject({
    format: 'saccade bench',
    version: 1,
    suite: 'attention',
    machine: { saccade: expect.any(String) },
    complete: true,
  });
  expect(report.rows.map(({ name, n, mask }) => `${name} ${n} ${mask}`)).toEqual(
    ['full', 'causal'].flatMap((mask) =>
      [4, 6].flatMap((n) => [`saccade ${n} ${mask}`, `saccade-1-thread ${n} ${mask}`]),
    ),
  );
  for (const { status, measures, command } of report.rows) {
    expect(status).toBe('ok');
    expect(measures.error).toBeLessThan(1e-6);
    expect(measures.rate).toBeGreaterThan(0);
    expect(command).toMatch(/^saccade bench attention .*--only /);
  }
  expect(report.rows[0]?.measures.ratio).toBe(1);
});

test('what is measured is reported after each problem as unfinished, and an interrupt leaves it at that', async () => {
  const controller = new AbortController();
  const reports: BenchReport[] = [];
  const onReport = async (report: BenchReport) => {
    if (reports.push(report) === 2) controller.abort();
  };
  const run = runSuite(attentionSuite, TINY, { ...onReference(), signal: controller.signal, onReport });
  await expect(run).rejects.toMatchObject({ name: 'AbortError' });
  expect(reports.map(({ complete, rows }) => [complete, rows.length])).toEqual([
    [false, 2],
    [false, 4],
  ]);
  expect(formatReport(reports[1] as BenchReport)).toContain(INCOMPLETE);
});

test('progress names the problem', async () => {
  const onProgress = vi.fn();
  await runSuite(attentionSuite, { ...TINY, n: [4], masks: ['causal'] }, { ...onReference(), onProgress });
  expect(onProgress).toHaveBeenLastCalledWith(1, 'n = 4, d = 4, causal');
});

test('what onProgress throws ends the run', async () => {
  const onProgress = () => {
    throw new RangeError('deaf');
  };
  const run = runSuite(attentionSuite, { ...TINY, n: [4], masks: ['causal'] }, { ...onReference(), onProgress });
  await expect(run).rejects.toThrow('deaf');
});

test('a row says how many rounds it had; the spread takes more than one', async () => {
  const options: BenchOptions = { ...TINY, n: [4], masks: ['full'] };
  for (const repeats of [1, 2]) {
    const { rows } = await runSuite(attentionSuite, { ...options, repeats }, onReference());
    expect(rows[0]?.measures.rounds).toBe(repeats);
    expect('spread' in (rows[0]?.measures ?? {})).toBe(repeats > 1);
  }
});

test('the rate counts only what the mask lets through', async () => {
  const { rows } = await runSuite(attentionSuite, { ...TINY, n: [4] }, onReference());
  const work = (mask: string) => {
    const { time, rate } = rows.find((row) => row.mask === mask)?.measures ?? {};
    return Math.round((time as number) * (rate as number) * 1e6);
  };
  expect(work('full')).toBe(4 * 4 * 4 * 4);
  expect(work('causal')).toBe(4 * 4 * (4 + 3 + 2 + 1));
});

test('only the rows asked for are measured, beside their baseline', async () => {
  const options = { ...TINY, threads: 5, only: ['4'] };
  const { rows } = await runSuite(threadsSuite, { ...options, n: [4], masks: ['full'] }, onReference());
  expect(rows.map(({ name }) => name)).toEqual(['1', '4']);
});

test('an unknown row is refused by name', async () => {
  const options = { ...TINY, only: ['numpy'] };
  await expect(async () => runSuite(attentionSuite, options, onReference())).rejects.toThrow(
    /--only of bench attention must be among saccade, .*, got 'numpy'/,
  );
});

test('a row that does not exist under the other options is refused', async () => {
  const options: BenchOptions = { ...TINY, masks: ['full'], only: ['onnxruntime-node-gqa'] };
  await expect(async () => runSuite(attentionSuite, options, onReference())).rejects.toThrow(
    'bench attention has no row onnxruntime-node-gqa under these options',
  );
});

test('the memory and overhead suites measure what they promise', async () => {
  const options: BenchOptions = { ...TINY, n: [4], masks: ['full'] };
  const memory = await runSuite(memorySuite, options, onReference());
  expect(memory.rows[0]?.measures.residentSet).toBeGreaterThan(10e6);
  const overhead = await runSuite(overheadSuite, options, onReference());
  expect(overhead.rows.map(({ name }) => name)).toEqual(['call', 'growth']);
  expect(overhead.rows[1]?.measures).toEqual({ heapGrowth: expect.any(Number), liveGrowth: 0 });
});

test('rows of the memory and overhead suites that fail say why', async () => {
  const options: BenchOptions = { ...TINY, n: [4], masks: ['full'] };
  const runtimes = () => new Runtimes(() => Promise.reject(new Error('no memory\nis left')));
  for (const suite of [memorySuite, overheadSuite]) {
    const explain = vi.spyOn(Runtimes.prototype, 'explain').mockResolvedValue([]);
    const { rows } = await runSuite(suite, options, { runtimes: runtimes() });
    explain.mockRestore();
    expect(rows.map(({ status, reason }) => [status, reason])).toEqual(rows.map(() => ['failed', 'no memory is left']));
    expect(rows).toHaveLength(suite.names(options).length);
  }
});

test('a goal is reached only by a row that was measured', () => {
  const row = { name: 'a', label: 'a', n: 1, h: 1, d: 1, mask: 'full', command: '', status: 'ok' as const };
  expect(reaches({ ...row, measures: { ratio: 2 } }, { measure: 'ratio', atLeast: 2 })).toBe(true);
  expect(reaches({ ...row, measures: { ratio: 1.9 } }, { measure: 'ratio', atLeast: 2 })).toBe(false);
  expect(reaches({ ...row, measures: { time: 3 } }, { measure: 'time', atMost: 2 })).toBe(false);
  expect(reaches({ ...row, measures: {} }, { measure: 'ratio', atLeast: 2 })).toBe(false);
  expect(reaches({ ...row, status: 'wrong', measures: { ratio: 3 } }, { measure: 'ratio', atLeast: 2 })).toBe(false);
});

test('the table says what was rejected instead of a speed, and why', async () => {
  const report = await runSuite(attentionSuite, { ...TINY, n: [4], masks: ['full'] }, onReference());
  const [first] = report.rows;
  expect(formatReport(report)).not.toContain(INCOMPLETE);
  const wrong = { ...first!, label: 'Rival', status: 'wrong' as const, reason: 'it differs', measures: {} };
  const text = formatReport({ ...report, rows: [...report.rows, wrong] });
  const line = text.split('\n').find((candidate) => candidate.includes('Rival') && !candidate.includes(':')) as string;
  expect(line).toMatch(/wrong/);
  expect(line).not.toMatch(/\d (ms|µs|s)\b/);
  expect(text).toContain('Rival, n = 4, d = 4, full: wrong: it differs');
});

test('a reason that rows share is given once', async () => {
  const report = await runSuite(attentionSuite, { ...TINY, masks: ['full'] }, onReference());
  const failed = report.rows.map((row) => ({ ...row, label: 'Rival', status: 'failed' as const, reason: 'no Python' }));
  const text = formatReport({ ...report, rows: failed });
  expect(text.match(/no Python/g)).toHaveLength(1);
  expect(text).toContain('Rival, 4 problems: failed: no Python');
});

test('every suite says what it measures in known columns', () => {
  for (const { measures, ratio, summary } of suites) {
    for (const measure of measures) expect(MEASURES[measure as MeasureName]).toBeDefined();
    expect(measures.includes('ratio')).toBe(ratio !== undefined);
    expect(summary).not.toBe('');
  }
});
