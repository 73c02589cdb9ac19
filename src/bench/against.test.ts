import { expect, test } from 'vitest';
import { builds, byCommands, formatAgainst, type Runner, runAgainst } from './against';
import type { BenchOptions } from './options';
import type { BenchReport, BenchRow } from './report';
import { threadsSuite } from './suites/threads';

const OPTIONS = { ...threadsSuite.defaults, repeats: 6 } as BenchOptions;
const ROW = { h: 8, d: 64, mask: 'full', status: 'ok', n: 4096 } as const;
const row = (name: string, time: number): BenchRow => ({
  ...{ ...ROW, name, label: `row ${name}`, measures: { time } },
  command: `saccade bench threads --threads 2 --repeats 6 --only ${name}`,
});

/** Both builds take what `times` says, of a row and of the how manieth run of it. */
function runner(times: (build: string, name: string, run: number) => number) {
  const calls: (readonly string[])[] = [];
  const run: Runner = async (build, words) => {
    const name = words[words.indexOf('--only') + 1] as string;
    const all = words.includes('--only') ? [name] : ['1', '2'];
    calls.push([build, ...words]);
    return { rows: all.map((each) => row(each, times(build, each, calls.length))) } as unknown as BenchReport;
  };
  return { calls, run };
}

const against = (run: Runner) =>
  runAgainst(threadsSuite, { against: '../other', builds: byCommands(threadsSuite, OPTIONS, run) });

test('a row is asked of this, the other, the other and this again, by its own command and few samples', async () => {
  const { calls, run } = runner(() => 5);
  const { rows } = await against(run);
  expect(rows).toMatchObject([{ verdict: 'same' }, { verdict: 'same' }]);
  expect(calls[0]).toEqual(['this', 'bench', 'threads', '--repeats', '1']);
  const ofFirst = calls.slice(1, 13);
  expect(ofFirst.map(([build]) => build).join(' ')).toBe('this other other this '.repeat(3).trim());
  for (const [, ...words] of ofFirst)
    expect(words).toEqual(['bench', 'threads', '--threads', '2', '--only', '1', '--repeats', '3']);
});

test.each([
  [1.02, 'same'],
  [1.05, 'slower'],
  [0.9, 'faster'],
])('%f of the time is %s', async (factor, verdict) => {
  const { run } = runner((build, name) => (build === 'this' && name === '2' ? factor : 1));
  const { rows } = await against(run);
  expect(rows).toMatchObject([
    { verdict: 'same' },
    { verdict, ratio: { median: factor, repeats: 6 }, own: { repeats: 3 } },
  ]);
});

test('what drifts favours neither, and no more than the other differs from itself is the same', async () => {
  const drifting = await against(runner((_, __, run) => 1.1 ** run).run);
  expect(drifting.rows).toMatchObject([{ verdict: 'same' }, { verdict: 'same' }]);
  const noisy = await against(
    runner((build, _, run) => (build === 'this' ? 1.05 : 1 + 0.1 * Number(run % 4 === 3))).run,
  );
  expect(noisy.rows[0]).toMatchObject({ verdict: 'same' });
  expect(Math.abs((noisy.rows[0] as { own: { median: number } }).own.median - 1)).toBeGreaterThan(0.03);
});

test('a row that the other build does not have is named with what it said', async () => {
  const { run } = runner(() => 1);
  const report = await against(async (build, words) => {
    if (build === 'other') throw Object.assign(new Error('exit code 2'), { stderr: 'a warning\nno such row\n' });
    return run(build, words);
  });
  expect(report.rows[0]).toMatchObject({ verdict: 'not compared', reason: 'no such row' });
  expect(formatAgainst(report)).toContain('row 1, n = 4096, d = 64, full: not compared: no such row');
  expect(formatAgainst(report)).toContain('0 slower, 0 faster, 0 same, 2 not compared');
});

test('a folder without a build is refused by name', () => {
  expect(() => builds(threadsSuite, OPTIONS, { against: '/nowhere' })).toThrow(
    "--against must be the folder of another checkout of Saccade that is built, got '/nowhere', which has no dist/cli/bin.mjs",
  );
});
