/** What `saccade sweep collect` shows in the browser. */
import { MEASURES } from '../bench/report';
import { machinesOf, measuresOf, type SweepReport, type SweepRow, shortJobs, sweepRows } from '../sweep/collected';
import { type Child, list, paragraph, section, warning } from './dom';
import { type SortableColumn, sortableTable } from './sortable-table';

export function sweepView({ sweep, waiting, outcomes }: SweepReport): readonly Child[] {
  const rows = sweepRows(outcomes);
  const { name, common } = shortJobs(outcomes);
  const measures = measuresOf(rows);
  const columns: SortableColumn<SweepRow>[] = [
    { header: 'machine', value: (row) => row.machine },
    { header: 'job', value: (row) => name(row.job) },
    { header: 'what', value: (row) => row.what },
    { header: 'result', value: (row) => row.measures.time ?? row.result, cell: (row) => row.result },
    ...measures.map((measure): SortableColumn<SweepRow> => {
      const { header, help, format } = MEASURES[measure];
      const value = (row: SweepRow) => row.measures[measure];
      return { header, help, value, cell: (row) => (value(row) === undefined ? '' : format(value(row) as number)) };
    }),
  ];
  return [
    ...(waiting > 0 ? [warning(`Unfinished: ${waiting} of its jobs have no outcome yet.`)] : []),
    paragraph(`Sweep '${sweep}': ${outcomes.length} jobs, with the name of the machine that did each.`),
    section('Results', sortableTable('By job', columns, rows)),
    ...(common.length > 0 ? [section('What the jobs have in common', list(common))] : []),
    section('Machines', list(machinesOf(outcomes))),
    ...(measures.length > 0
      ? [
          section(
            'What the columns mean',
            list(measures.map((measure) => `${MEASURES[measure].header}: ${MEASURES[measure].help}`)),
          ),
        ]
      : []),
  ];
}
