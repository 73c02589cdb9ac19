/** What `saccade compare` shows in the browser. */
import type { ComparisonReport, Row } from '../compare/comparison';
import { formatMachine } from '../machine';
import { type Child, element, section } from './dom';
import { formatBytes, formatFlops, formatRatio, formatTime } from './format';
import { type SortableColumn, sortableTable } from './sortable-table';

export function compareView({ machine, input, recommendation, rows, runtime }: ComparisonReport): readonly Child[] {
  return [
    element('p', { class: 'muted' }, `${formatMachine(machine)}. ${runtime.join('; ')}.`),
    element('p', {}, input),
    element('p', { class: 'verdict' }, recommendation.text),
    element('p', { class: 'muted' }, `The rule: ${recommendation.rule}.`),
    section(
      'What each variant costs and loses',
      sortableTable('Every variant beside its exact baseline', columns, rows),
    ),
  ];
}

const columns: readonly SortableColumn<Row>[] = [
  { header: 'Attention', value: (row) => row.label },
  {
    header: 'Time',
    help: 'Median of one call',
    value: (row) => row.time.median,
    cell: (row) => formatTime(row.time.median),
  },
  {
    header: 'Speed-up',
    help: 'Over the exact baseline',
    value: (row) => row.speedup,
    cell: (row) => formatRatio(row.speedup),
  },
  {
    header: 'Memory',
    help: 'Results and working memory of one call',
    value: (row) => row.memory,
    cell: (row) => formatBytes(row.memory),
  },
  { header: 'Work', value: (row) => row.flops, cell: (row) => formatFlops(row.flops) },
];
