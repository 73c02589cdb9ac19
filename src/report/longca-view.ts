/** What `saccade bench longca` shows in the browser. */
import {
  type HeatMap,
  heatMaps,
  type LongCaReport,
  longCaFailures,
  machineLine,
  panelsOf,
  ratioMaps,
} from '../bench/longca/report';
import { INCOMPLETE } from '../bench/report';
import { type Child, element, list, paragraph, scrollingTable, section, warning } from './dom';

const K = 1024;

export function longCaView(report: LongCaReport): readonly Child[] {
  const { setting, command, complete, leftOut, rows, disagreements, contenders } = report;
  const failures = longCaFailures(report);
  const shown = contenders.filter(({ name }) => rows.some(({ contender }) => contender === name));
  return [
    ...(complete ? [] : [warning(INCOMPLETE)]),
    ...(leftOut > 0 ? [paragraph(`For ${leftOut} cases the budget had no time; they are blank.`)] : []),
    paragraph(machineLine(report), 'muted'),
    ...setting.map((text) => paragraph(text)),
    element('p', {}, 'Measured by ', element('code', {}, command)),
    ...panelsOf(rows).map(({ title, rows: own }) =>
      section(
        `GFLOP/s, ${title}`,
        element('div', { class: 'beside' }, ...[...heatMaps(report, own), ...ratioMaps(report, own)].map(heatMap)),
      ),
    ),
    ...(failures.length > 0 ? [section('Without a number', list(failures))] : []),
    section(
      "Where the authors' forms of a mask disagree",
      paragraph(
        'Pairs seen by one form and by the other, of 60 tokens. Here each mask has one definition, from which all forms follow.',
      ),
      disagreementTable(disagreements),
    ),
    section('What was compared', list(shown.map(({ label, how }) => `${label}: ${how}`))),
  ];
}

function heatMap({ title, lengths, rows }: HeatMap): HTMLElement {
  const column = (n: number) => element('th', { scope: 'col', class: 'number' }, n % K === 0 ? `${n / K}K` : String(n));
  const header = element('tr', {}, element('th', { scope: 'col' }, 'mask'), ...lengths.map(column));
  const body = rows.map(({ mask, cells }) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, mask),
      ...cells.map(({ text, share, title }) =>
        element(
          'td',
          { class: share === undefined ? 'number muted' : 'number heat', style: share && `--share: ${share}`, title },
          text,
        ),
      ),
    ),
  );
  return scrollingTable(title, header, body);
}

function disagreementTable(all: LongCaReport['disagreements']): HTMLElement {
  const titles = ['mask', 'forms', 'one', 'other', 'pairs that differ'];
  const kind = (at: number) => (at < 2 ? undefined : 'number');
  const header = element(
    'tr',
    {},
    ...titles.map((title, at) => element('th', { scope: 'col', class: kind(at) }, title)),
  );
  const body = all.map(({ mask, forms, areas, differing }) => {
    const cells = [mask, forms, ...areas, differing ?? ''].map(String);
    return element('tr', {}, ...cells.map((cell, at) => element('td', { class: kind(at) }, cell)));
  });
  return scrollingTable('Counted on an example of 60 tokens', header, body);
}
