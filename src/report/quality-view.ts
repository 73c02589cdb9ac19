/** What `saccade bench quality` shows in the browser. */
import {
  QUALITY_COLUMNS,
  QUALITY_TEXTS,
  type QualityReport,
  qualityFailures,
  qualityRows,
  qualitySeries,
} from '../bench/quality/report';
import { INCOMPLETE } from '../bench/report';
import { formatMachine } from '../machine';
import { type Child, element, list, paragraph, scrollingTable, section, warning } from './dom';
import { findingsFigure } from './findings-figure';

export function qualityView(report: QualityReport): readonly Child[] {
  const { machine, runtime, setting, command, complete, tasks, runs } = report;
  const kind = (at: number) => (at < QUALITY_TEXTS ? undefined : 'number');
  const header = QUALITY_COLUMNS.map(([name, help], at) =>
    element('th', { scope: 'col', class: kind(at), title: help || undefined }, name),
  );
  const rows = qualityRows(report).map((cells) =>
    element('tr', {}, ...cells.map((cell, at) => element('td', { class: kind(at) }, cell))),
  );
  const failures = qualityFailures(report);
  return [
    ...(complete ? [] : [warning(INCOMPLETE)]),
    paragraph(`${formatMachine(machine)}. ${runtime.join('; ')}.`, 'muted'),
    paragraph(setting),
    element('p', {}, 'Measured by ', element('code', {}, command)),
    section('What models learned', scrollingTable('Accuracy by task and method', element('tr', {}, ...header), rows)),
    ...(failures.length > 0 ? [section('Failed', list(failures))] : []),
    ...(runs.length > 0 ? [section('Figures', findingsFigure(qualitySeries(report)))] : []),
    section(
      'The tasks',
      list(tasks.map(({ name, summary, length, steps }) => `${name}: ${summary}; ${length} tokens, ${steps} steps.`)),
    ),
    section(
      'What the columns mean',
      list(QUALITY_COLUMNS.flatMap(([name, help]) => (help ? [`${name}: ${help}`] : []))),
    ),
  ];
}
