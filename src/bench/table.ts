import { styleText } from 'node:util';
import { formatMachine } from '../machine';
import { formatTable, right } from '../text/table';
import { type BenchReport, type BenchRow, formatGoal, formatRejections, INCOMPLETE, MEASURES, reaches } from './report';

/** A report as text: the table, why rows were rejected, how to repeat a row, the machine. */
export function formatReport(report: BenchReport): string {
  const { rows, ratio, runtime, machine, complete, notes: said = [] } = report;
  const notes = [
    ...formatRejections(rows),
    ...(ratio ? [`ratio: ${ratio}`] : []),
    ...(rows[0] ? [`one row again: ${rows.at(-1)?.command}`] : []),
    formatMachine(machine),
    runtime.join('; '),
  ];
  const plain = [...(complete ? [] : [INCOMPLETE]), ...said];
  return [table(report), '', ...plain, ...notes.map((note) => styleText('dim', note))].join('\n');
}

function table({ rows, measures }: BenchReport): string {
  const shown = measures.filter((measure) => measure !== 'error');
  const withGoal = rows.some(({ goal }) => goal);
  const columns = [
    right('n'),
    right('d'),
    'mask',
    'what',
    right('thr.'),
    ...shown.map((measure) => right(MEASURES[measure].header)),
    ...(withGoal ? ['goal'] : []),
  ];
  const cells = rows.map((row, at) => [
    ...problemCells(row, rows[at - 1]),
    row.label,
    String(row.threads ?? ''),
    ...shown.map((measure, index) => cell(row, measure, index)),
    goalCell(row),
  ]);
  return formatTable(columns, cells);
}

/** Writes the problem once for the rows that share it. */
function problemCells({ n, d, mask }: BenchRow, above: BenchRow | undefined): string[] {
  const same = above && above.n === n && above.d === d && above.mask === mask;
  return same ? ['', '', ''] : [String(n), String(d), mask];
}

function cell({ status, measures }: BenchRow, measure: keyof typeof MEASURES, index: number): string {
  if (status !== 'ok') return index === 0 ? styleText('red', status) : '';
  const value = measures[measure];
  return value === undefined ? '' : MEASURES[measure].format(value);
}

function goalCell(row: BenchRow): string {
  if (!row.goal) return '';
  const reached = reaches(row, row.goal);
  return styleText(reached ? 'green' : 'red', `${reached ? '✓' : '✗'} ${formatGoal(row.goal)}`);
}
