import { Command } from 'commander';
import { expect, test, vi } from 'vitest';
import { gateOf } from '../bench/gate';
import { type BenchOptions, commandLine, commandWords } from '../bench/options';
import { type BenchReport, INCOMPLETE } from '../bench/report';
import { suites } from '../bench/suites';
import { WrongResultError } from '../measure/gate';
import { benchCommand } from './bench';
import { main } from './main';
import { writeFileAtomic } from './write-file';

vi.mock('./write-file', { spy: true });
vi.mock('../bench/gate', { spy: true });

/** What the command line makes of `words`: the suite's name and its options. */
async function parse(words: readonly string[]): Promise<{ suite: string; options: BenchOptions }> {
  const act = vi.fn(async () => {});
  const root = new Command('saccade').exitOverride().configureOutput({ outputError: () => {} });
  root.addCommand(benchCommand(act).copyInheritedSettings(root));
  await root.parseAsync(words, { from: 'user' });
  const [suite, options] = act.mock.calls[0] as unknown as [{ name: string }, BenchOptions];
  return { suite: suite.name, options };
}

test.each(suites)('the command of a row of $name gives its options back', async (suite) => {
  const { options } = await parse(['bench', suite.name]);
  const changed: BenchOptions = {
    ...options,
    n: [8, 16],
    d: [5],
    masks: ['causal', 'window'],
    heads: 3,
    backend: 'webgpu',
    threads: 7,
    simd: 'baseline',
    repeats: 4,
    limit: 5,
    calls: 12,
    peers: true,
    browser: 'wait',
    only: ['a', 'b'],
    inProcess: true,
  };
  const taken = Object.keys(suite.defaults) as (keyof BenchOptions)[];
  const expected = { ...options, ...Object.fromEntries(taken.map((name) => [name, changed[name]])) };
  for (const wanted of [options, expected]) {
    expect(await parse(commandWords(suite.name, wanted, suite.defaults))).toEqual({
      suite: suite.name,
      options: wanted,
    });
  }
});

test('options that are as by default are left out of the command', async () => {
  const { options } = await parse(['bench', 'attention', '--n', '1024', '--only', 'jax-js']);
  const [attention] = suites;
  expect(commandLine('attention', options, attention!.defaults)).toBe('saccade bench attention --n 1024 --only jax-js');
});

test.each([
  [['bench', 'nonsense'], /suite must be one of attention, .*, got 'nonsense'/],
  [['bench', 'attention', '--masks', 'full,round'], /--masks .*'full,round' is invalid.*full, causal, window/],
  [['bench', 'attention', '--n', '0'], /--n .*whole number from 1/],
  [['bench', 'attention', '--d', '64,300'], /--d .*whole number from 1 to 256/],
  [['bench', 'attention', '--simd', 'avx'], /--simd .*relaxed, baseline/],
  [
    ['bench', 'attention', '--browser', 'firefox'],
    /--browser .*'firefox' is invalid.*'wait' or the address of DevTools/,
  ],
  [['bench', 'attention', '--backend', 'cuda'], /--backend .*'cuda' is invalid.*wasm, webgpu/],
  [['bench', 'shapes', '--backend', 'webgpu'], /unknown option '--backend'/],
  [['bench', 'sparse', '--browser'], /unknown option '--browser'/],
  [['bench', 'memory', '--peers'], /unknown option '--peers'/],
])('%j is refused', async (words, message) => {
  await expect(async () => parse(words)).rejects.toThrow(message);
});

test('an interrupt keeps and shows what was measured before it', async () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  vi.mocked(writeFileAtomic).mockImplementation(async () => {
    process.emit('SIGINT');
  });
  const words = 'attention --n 4,6 --d 4 --masks full --heads 1 --threads 1 --repeats 1 --json bench.json';
  const run = benchCommand().parseAsync(words.split(' '), { from: 'user' });
  await expect(run).rejects.toMatchObject({ name: 'AbortError' });
  const text = write.mock.calls.map(([chunk]) => chunk).join('');
  write.mockRestore();
  expect(text).toContain(INCOMPLETE);
  expect(text).toContain('Saccade');
  const [[path, json], ...others] = vi.mocked(writeFileAtomic).mock.calls as [[string, string]];
  expect(others).toEqual([]);
  expect(path).toBe('bench.json');
  expect(JSON.parse(json)).toMatchObject({ complete: false, rows: [{ n: 4, status: 'ok' }] });
});

test('what is wrong costs its own rows, and exit code 1 once all is written', async () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const complaint = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  vi.mocked(writeFileAtomic).mockReset().mockResolvedValue();
  vi.mocked(gateOf).mockImplementationOnce(async () => () => {
    throw new WrongResultError('it is wrong');
  });
  const words = 'attention --n 4,6 --d 4 --masks full --heads 1 --threads 1 --repeats 1 --json bench.json';
  expect(await main(['bench', ...words.split(' ')])).toBe(1);
  const [text, said] = [write, complaint].map(({ mock }) => String(mock.calls.at(-1)?.[0])) as [string, string];
  for (const spy of [write, complaint]) spy.mockRestore();
  const { complete, rows } = JSON.parse(vi.mocked(writeFileAtomic).mock.calls.at(-1)?.[1] as string) as BenchReport;
  expect(complete).toBe(true);
  expect(rows.map(({ n, status, reason }) => [n, status, reason])).toEqual([
    [4, 'wrong', 'it is wrong'],
    [6, 'ok', undefined],
  ]);
  expect(text).toContain('Saccade, n = 4, d = 4, full: wrong: it is wrong');
  expect(said).toBe('saccade: 1 of 2 rows failed: Saccade (n = 4, d = 4, full)\n');
});

test('without a suite it lists them', async () => {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  await benchCommand().parseAsync([], { from: 'user' });
  const text = write.mock.calls.map(([chunk]) => chunk).join('');
  write.mockRestore();
  for (const { name, summary } of suites) {
    expect(text).toContain(name);
    expect(text).toContain(summary);
  }
});
