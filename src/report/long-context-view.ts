/** What `saccade bench long-context` shows in the browser. */
import {
  INDEX_COLUMNS,
  indexCells,
  LOSS_COLUMNS,
  type LongContextReport,
  longFailures,
  longSeries,
  lossCells,
  SPEED_COLUMNS,
  speedCells,
} from '../bench/long-context/report';
import { INCOMPLETE } from '../bench/report';
import { formatMachine } from '../machine';
import { type Child, element, list, paragraph, scrollingTable, section, warning } from './dom';
import { findingsFigure } from './findings-figure';

export function longContextView(report: LongContextReport): readonly Child[] {
  const { machine, runtime, setting, command, complete, speed, losses, indexes } = report;
  const table = (title: string, columns: typeof SPEED_COLUMNS, rows: readonly (readonly string[])[]) => {
    const kind = (at: number) => (at === 1 ? undefined : 'number');
    const header = columns.map(([name, help], at) =>
      element('th', { scope: 'col', class: kind(at), title: help || undefined }, name),
    );
    const cells = rows.map((row) =>
      element('tr', {}, ...row.map((cell, at) => element('td', { class: kind(at) }, cell))),
    );
    return scrollingTable(title, element('tr', {}, ...header), cells);
  };
  const series = longSeries(report);
  const failures = longFailures(report);
  const meanings = [...SPEED_COLUMNS, ...LOSS_COLUMNS, ...INDEX_COLUMNS].flatMap(([name, help]) =>
    help ? [`${name}: ${help}`] : [],
  );
  return [
    ...(complete ? [] : [warning(INCOMPLETE)]),
    paragraph(`${formatMachine(machine)}. ${runtime.join('; ')}.`, 'muted'),
    ...setting.map((text) => paragraph(text)),
    element('p', {}, 'Measured by ', element('code', {}, command)),
    ...(series.length > 0 ? [section('Curves', findingsFigure(series))] : []),
    ...(speed.length > 0
      ? [section('Speed and memory', table('By length', SPEED_COLUMNS, speed.map(speedCells)))]
      : []),
    ...(losses.length > 0
      ? [section('What it costs a model', table('By length', LOSS_COLUMNS, losses.map(lossCells)))]
      : []),
    ...(indexes.length > 0
      ? [section('Indexes of keys', table('By keys', INDEX_COLUMNS, indexes.flatMap(indexCells)))]
      : []),
    ...(failures.length > 0 ? [section('Not measured', list(failures))] : []),
    section('What the columns mean', list(meanings)),
  ];
}
