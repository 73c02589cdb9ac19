/** The README shows what there is and what was measured: `npx vitest run test/readme.test.ts -u` brings it up to date. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import type { BenchReport, BenchRow } from '../src/bench/report';
import { formatMachine } from '../src/machine';
import { describeParams } from '../src/methods/params';
import { methods } from '../src/methods/registry';
import { formatPercent, formatRatio, formatTime } from '../src/report/format';
import { markdownTable, replaceSection } from './markdown';

const root = resolve(import.meta.dirname, '..');
const HEAD_DIMENSION = 64;

test('the tables in the README are those of docs/*.json and of the registry', async () => {
  const readme = await readFile(`${root}/README.md`, 'utf8');
  const sections = {
    'bench attention': attentionSection(await reportOf('attention')),
    'bench sparse': sparseSection(await reportOf('sparse')),
    'bench browser': browserSection(await reportOf('browser')),
    methods: methodsSection(),
  };
  const current = Object.entries(sections).reduce(
    (text, [name, content]) => replaceSection(text, name, content),
    readme,
  );
  await expect(current).toMatchFileSnapshot(`${root}/README.md`);
});

test.each(methods.map((method) => [method.name, method] as const))(
  'the page of %s names its params and inputs',
  async (_, method) => {
    const { family, name, params, optional = {} } = method;
    const page = await readFile(`${root}/src/methods/${family}/${name}/README.md`, 'utf8');
    const names = [...describeParams(params).map((param) => param.name), ...Object.keys(optional)];
    expect(names.filter((each) => !page.includes(`\`${each}\``))).toEqual([]);
  },
);

async function reportOf(suite: string): Promise<BenchReport> {
  return JSON.parse(await readFile(`${root}/docs/bench-${suite}.json`, 'utf8'));
}

function methodsSection(): string {
  const rows = methods.map(({ name, family, summary }) => {
    const page = `src/methods/${family}/${name}/README.md`;
    return [existsSync(`${root}/${page}`) ? `[\`${name}\`](${page})` : `\`${name}\``, family, summary];
  });
  return markdownTable([['method', 'family', 'what it computes'], ...rows], 3);
}

/** Masks beside our own dense attention of the same extents: lengths at which there are peers are left out. */
function sparseSection({ rows, machine, runtime, command }: BenchReport): string {
  const rivals = new Set(rows.filter(({ how }) => how !== undefined).map(({ n }) => n));
  const compared = rows.filter(
    ({ n, status, measures: { visited, ratio } }) =>
      status === 'ok' && visited !== undefined && ratio !== undefined && !rivals.has(n),
  );
  // Dense attention is measured with each group of masks anew.
  const groups = Map.groupBy(compared, ({ name, label, n }) => `${name} ${label} ${n}`);
  const shown = [...groups.values()].map(([row]) => row as BenchRow);
  const cells = [
    ['mask', 'n', 'tiles visited', 'time', 'of dense', 'share of peak'],
    ...shown.map(({ name, label, n, measures: { visited, time, ratio, peakShare } }) => [
      label.startsWith('dense') ? label : `${name}: ${label}`,
      String(n),
      formatPercent(visited ?? Number.NaN),
      formatTime(time as number),
      formatRatio(ratio as number),
      formatPercent(peakShare ?? Number.NaN),
    ]),
  ];
  return `${markdownTable(cells)}\n\n${notesOf(machine, runtime, command)}`;
}

function notesOf(machine: BenchReport['machine'], runtime: readonly string[], command: string): string {
  return `${formatMachine(machine)}; ${runtime.join('; ')}. By \`${command}\`.`;
}

function attentionSection({ rows, machine, runtime, command }: BenchReport): string {
  const shown = rows.filter(({ d }) => d === HEAD_DIMENSION);
  const names = [...new Set(shown.map(({ name }) => name))];
  const labels = names.map((name) => shown.find((row) => row.name === name)?.label as string);
  const problems = Map.groupBy(shown, ({ mask, n }) => `${mask} ${n}`);
  const cells = [
    ['mask', 'n', ...labels],
    ...[...problems].map(([problem, group]) => [
      ...problem.split(' '),
      ...names.map((name, at) =>
        timeCell(
          group.find((row) => row.name === name),
          at > 0,
        ),
      ),
    ]),
  ];
  return `${markdownTable(cells)}\n\n${notesOf(machine, runtime, command)}`;
}

/** A row for each contender, each compared with Saccade on the same backend. */
function browserSection({ rows, machine, runtime, command }: BenchReport): string {
  const lengths = [...new Set(rows.map(({ n }) => n))];
  const cells = [
    ['', ...lengths.map((n) => `n = ${n}`)],
    ...[...Map.groupBy(rows, ({ label }) => label)].map(([label, group]) => [
      label,
      ...lengths.map((n) =>
        timeCell(
          group.find((row) => row.n === n),
          !label.startsWith('Saccade'),
        ),
      ),
    ]),
  ];
  return `${markdownTable(cells)}\n\n${notesOf(machine, runtime, command)}`;
}

function timeCell(row: BenchRow | undefined, isRival: boolean): string {
  if (row?.status !== 'ok') return row?.status ?? '';
  const { time, ratio } = row.measures;
  return formatTime(time as number) + (isRival ? ` (${formatRatio(ratio as number)})` : '');
}
