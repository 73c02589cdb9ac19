/** What `saccade bench` shows in the browser. */
import {
  type BenchReport,
  type BenchRow,
  formatGoal,
  formatRejections,
  INCOMPLETE,
  MEASURES,
  type MeasureName,
  reaches,
} from '../bench/report';
import { formatMachine } from '../machine';
import { type Child, element, fitted, list, paragraph, section, warning } from './dom';
import { ratesPlot } from './rates-plot';
import { type SortableColumn, sortableTable } from './sortable-table';

export function benchView({
  machine,
  runtime,
  summary,
  measures,
  ratio,
  rows,
  command,
  complete,
  notes = [],
}: BenchReport): readonly Child[] {
  const rejections = formatRejections(rows);
  const plot = fitted((width) => ratesPlot(rows, width));
  const ways = new Map(rows.flatMap(({ label, how }) => (how === undefined ? [] : [[label, `${label}: ${how}`]])));
  const meanings = measures.map((measure) => `${MEASURES[measure].header}: ${meaning(measure, ratio)}`);
  return [
    ...[...(complete ? [] : [INCOMPLETE]), ...notes].map(warning),
    paragraph(`${formatMachine(machine)}. ${runtime.join('; ')}.`, 'muted'),
    paragraph(
      `${summary[0]?.toUpperCase()}${summary.slice(1)}. Every result agrees with the float64 reference, else the row says what is wrong instead of a speed.`,
    ),
    element('p', {}, 'Measured by ', element('code', {}, command)),
    ...(hasLengths(rows) ? [section('Speed by length', plot)] : []),
    section('Rows', sortableTable('Rows of a problem were measured in turns', columnsOf(measures, ratio, rows), rows)),
    ...(rejections.length > 0 ? [section('Not measured', list(rejections))] : []),
    ...(ways.size > 0 ? [section('What the others compute with', list([...ways.values()]))] : []),
    section('What the columns mean', list(meanings)),
    section(
      'One row again',
      element(
        'details',
        {},
        element('summary', {}, 'The command of each row'),
        element('pre', {}, rows.map(({ command }) => command).join('\n')),
      ),
    ),
  ];
}

function columnsOf(
  measures: readonly MeasureName[],
  ratio: string | undefined,
  rows: readonly BenchRow[],
): SortableColumn<BenchRow>[] {
  const goalOf = (row: BenchRow) => row.goal && `${reaches(row, row.goal) ? '✓' : '✗'} ${formatGoal(row.goal)}`;
  const goal: SortableColumn<BenchRow> = { header: 'goal', value: goalOf, cell: (row) => goalOf(row) ?? '' };
  return [
    { header: 'n', value: (row) => row.n },
    { header: 'd', value: (row) => row.d },
    { header: 'mask', value: (row) => row.mask },
    { header: 'what', value: (row) => row.label },
    { header: 'thr.', help: 'threads', value: (row) => row.threads, cell: (row) => String(row.threads ?? '') },
    ...measures.map((measure, at) => measureColumn(measure, meaning(measure, ratio), at === 0)),
    ...(rows.some((row) => row.goal) ? [goal] : []),
  ];
}

/** Whether the speed of each mask can be seen to depend on the length. */
function hasLengths(rows: readonly BenchRow[]): boolean {
  const byMask = new Map<string, Set<number>>();
  for (const { mask, n } of rows) byMask.set(mask, (byMask.get(mask) ?? new Set()).add(n));
  return byMask.size > 0 && [...byMask.values()].every(({ size }) => size > 1);
}

/** A rejected row shows its status in the first measure. */
function measureColumn(measure: MeasureName, help: string, first: boolean): SortableColumn<BenchRow> {
  const { header, format } = MEASURES[measure];
  return {
    header,
    help,
    value: (row) => row.measures[measure],
    cell: ({ measures, status }) => {
      const value = measures[measure];
      if (value !== undefined) return format(value);
      return first && status !== 'ok' ? element('strong', {}, status) : '';
    },
  };
}

function meaning(measure: MeasureName, ratio: string | undefined): string {
  return measure === 'ratio' && ratio !== undefined ? ratio : MEASURES[measure].help;
}
