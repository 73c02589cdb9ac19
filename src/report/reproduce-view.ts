/** What `saccade reproduce` shows in the browser. */
import { type Child, element, paragraph, scrollingTable, section } from './dom';
import { findingsFigure } from './findings-figure';
import { type Reproduction, reproductionNotes, reproductionRows, reproductionSetting } from './reproduction';

const HEADERS = ['', 'claim', 'source', 'measured', 'verdict'];

export function reproduceView(report: Reproduction): readonly Child[] {
  const { title, command, findings } = report;
  const cells = (tag: 'th' | 'td', texts: readonly string[]) => texts.map((text) => element(tag, {}, text));
  const header = element('tr', {}, ...cells('th', HEADERS));
  const rows = reproductionRows(report).map((row) => element('tr', {}, ...cells('td', row)));
  const notes = reproductionNotes(report).map((note) => paragraph(note));
  const series = findings.flatMap((finding) => finding.series ?? []);
  return [
    paragraph(`${title}.`),
    paragraph(reproductionSetting(report), 'muted'),
    element('p', {}, 'Measured by ', element('code', {}, command)),
    section('Claims and measurements', scrollingTable('A verdict follows from the figures', header, rows), ...notes),
    ...(series.length > 0 ? [section('Figures', findingsFigure(series))] : []),
  ];
}
