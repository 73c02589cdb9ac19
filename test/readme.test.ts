/** The README shows what was measured: `npx vitest run test/readme.test.ts -u` brings its table up to date. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import type { BenchReport, BenchRow } from '../src/bench/report';
import { formatMachine } from '../src/machine';
import { formatPercent, formatRatio, formatTime } from '../src/report/format';

const root = resolve(import.meta.dirname, '..');
const HEAD_DIMENSION = 64;
const SECTION = /(<!-- bench attention -->\n)[\s\S]*(<!-- end -->)/;

test('the table in the README is that of docs/bench-attention.json', async () => {
  const readme = await readFile(`${root}/README.md`, 'utf8');
  const report = JSON.parse(await readFile(`${root}/docs/bench-attention.json`, 'utf8')) as BenchReport;
  expect(readme).toMatch(SECTION);
  const current = readme.replace(SECTION, (_, start, end) => `${start}${benchSection(report)}${end}`);
  await expect(current).toMatchFileSnapshot(`${root}/README.md`);
});

function benchSection({ rows, machine, runtime, command }: BenchReport): string {
  const shown = rows.filter(({ d }) => d === HEAD_DIMENSION);
  const names = [...new Set(shown.map(({ name }) => name))];
  const labels = names.map((name) => shown.find((row) => row.name === name)?.label as string);
  const problems = Map.groupBy(shown, ({ mask, n }) => `${mask} ${n}`);
  const cells = [
    ['mask', 'n', ...labels, 'share of peak'],
    ...[...problems].map(([problem, group]) => [
      ...problem.split(' '),
      ...names.map((name, at) =>
        timeCell(
          group.find((row) => row.name === name),
          at > 0,
        ),
      ),
      formatPercent(group[0]?.measures.peakShare ?? Number.NaN),
    ]),
  ];
  const notes = `${formatMachine(machine)}; ${runtime.join('; ')}. By \`${command}\`.`;
  return `\n${markdownTable(cells)}\n\n${notes}\n\n`;
}

/** Padded as the formatter does it; all columns but the first flush right. */
function markdownTable([header, ...rows]: readonly (readonly string[])[]): string {
  const widths = header?.map((_, at) => Math.max(...[header, ...rows].map((cells) => cells[at]?.length ?? 0))) ?? [];
  const rule = widths.map((width, at) => (at === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  const pad = (cell: string, at: number) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0));
  return [header ?? [], rule, ...rows].map((cells) => `| ${cells.map(pad).join(' | ')} |`).join('\n');
}

function timeCell(row: BenchRow | undefined, isRival: boolean): string {
  if (row?.status !== 'ok') return row?.status ?? '';
  const { time, ratio } = row.measures;
  return formatTime(time as number) + (isRival ? ` (${formatRatio(ratio as number)})` : '');
}
