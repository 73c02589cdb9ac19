import { expect, test } from 'vitest';
import { measuresOf, shortJobs, sweepCsv, sweepRows } from './collected';
import type { Outcome } from './outcome';

const machine = {
  cpu: 'x',
  cores: 2,
  platform: 'linux',
  runtime: 'Node',
  saccade: '0',
  date: '2026-01-01T00:00:00.000Z',
};
const common = { build: 'b', tries: 1, date: machine.date };
const row = { name: 'saccade', label: 'Saccade', h: 1, d: 8, mask: 'full', command: '' };

function benchOf(n: number, on: string): Outcome {
  const measures = { time: n / 8, ratio: 1 };
  return {
    ...common,
    machine: on,
    words: ['bench', 'attention', '--n', String(n), '--heads', '1'],
    report: {
      ...{ format: 'saccade bench', version: 1, suite: 'attention', summary: '', measures: ['time', 'ratio'] },
      ...{ machine, runtime: [], command: '', complete: true },
      rows: [{ ...row, n, status: 'ok', measures }],
    },
  };
}

const outcomes: readonly Outcome[] = [
  benchOf(1024, 'b'),
  benchOf(256, 'a'),
  { ...common, machine: '=1+1', words: ['reproduce', 'sea', '--quick'], error: 'out of "memory",\nwholly' },
];

test('rows are by job, numbers by their size, each with its machine', () => {
  const rows = sweepRows(outcomes);
  expect(rows.map(({ machine, what, result, status }) => [machine, what, result, status])).toEqual([
    ['a', 'Saccade', '32.0 ms', 'ok'],
    ['b', 'Saccade', '128 ms', 'ok'],
    ['=1+1', '', 'out of "memory",\nwholly', 'failed'],
  ]);
  expect(measuresOf(rows)).toEqual(['ratio']);
});

test('a table says once what the jobs of a suite have in common', () => {
  const { name, common } = shortJobs(outcomes);
  expect(outcomes.map(({ words }) => name(words))).toEqual([
    'bench attention --n 1024',
    'bench attention --n 256',
    'reproduce sea --quick',
  ]);
  expect(common).toEqual(['bench attention: all with --heads 1']);
});

test('its CSV has numbers in full, quotes what has to be, and no formulas', () => {
  expect(sweepCsv(outcomes)).toBe(
    [
      'machine,job,what,status,result,time,ratio',
      'a,bench attention --n 256 --heads 1,Saccade,ok,32.0 ms,32,1',
      'b,bench attention --n 1024 --heads 1,Saccade,ok,128 ms,128,1',
      `'=1+1,reproduce sea --quick,,failed,"out of ""memory"",\nwholly",,`,
      '',
    ].join('\n'),
  );
});
