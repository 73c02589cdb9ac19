/** What `saccade compare` shows in the browser. */

import {
  type ComparisonReport,
  type Glances,
  hasError,
  hasLoss,
  hasReach,
  isMeasured,
  needsTraining,
  type Row,
  type RowWithError,
  type Use,
} from '../compare/comparison';
import { formatMachine } from '../machine';
import {
  formatBytes,
  formatFlops,
  formatLimit,
  formatPercent,
  formatRatio,
  formatTime,
  significant,
} from '../text/format';
import { attentionMaps } from './attention-maps';
import type { ComparisonPage, Photograph } from './comparison-page';
import { type Child, element, fitted, paragraph, section, warning } from './dom';
import { glancePictures } from './glance-pictures';
import { heatTable } from './heat-table';
import { leftOutNote, lossNote, lossText, trainingNote, warningsOf } from './notes';
import { type SortableColumn, sortableTable } from './sortable-table';
import { tradeOffPlot } from './trade-off';

export function compareView({ report, pictures, photograph }: ComparisonPage): readonly Child[] {
  const { machine, input, recommendation, rows, runtime, maps, glances, grid } = report;
  const variants = rows.filter(hasError).filter((row) => !row.baseline);
  const notes = [trainingNote(report), lossNote(report), leftOutNote(report)].filter((note) => note !== undefined);
  return [
    paragraph(input),
    paragraph(`${formatMachine(machine)}; ${runtime.join('; ')}.`, 'muted'),
    element('p', { class: 'verdict' }, recommendation.text),
    ...recommendation.uses.map(howToUse),
    paragraph(`The rule: ${recommendation.rule}.`, 'muted'),
    ...(variants.length > 0 ? [tradeOff(report)] : []),
    section(
      'What each variant costs and loses',
      sortableTable(
        'Click a heading to sort by it, point at it to read what it means.',
        columnsOf(rows),
        rows,
        rowClass(report),
        ({ failed }) => (failed === undefined ? undefined : `failed: ${failed}`),
      ),
      ...notes.map((note) => paragraph(note)),
      ...warningsOf(report).map(warning),
    ),
    ...(variants.length > 0 ? [headTables(variants)] : []),
    ...(glances && grid ? [whereTokensLook(glances, grid as [number, number], photograph)] : []),
    section(
      grid ? 'Where each head looks, row after row of the grid' : 'Where each head looks',
      paragraph(`Exact, full attention: queries downwards, keys to the right. ${mapsKey(maps)}`, 'muted'),
      ...attentionMaps(maps),
    ),
    section(
      'The masks',
      masksKey(report),
      element('div', { class: 'small grid' }, ...Object.entries(pictures).map(picture)),
    ),
    section('How this was measured', ...explanation(report)),
  ];
}

function tradeOff(report: ComparisonReport): HTMLElement {
  const limit = formatLimit(report.recommendation.maxError);
  const uses = report.rows.some((row) => row.causal)
    ? [
        element('span', { class: 'full' }, '● full'),
        ' and ',
        element('span', { class: 'causal' }, '◆ causal'),
        ' attention, each against its own exact baseline',
      ]
    : ['Against exact attention'];
  const key = element(
    'p',
    { class: 'muted' },
    ...uses,
    `, the dashed line at 1×. Lower and further right is better; the tinted corner errs by at most ${limit}.`,
  );
  return section(
    'Error against speed-up',
    key,
    fitted((width) => tradeOffPlot(report, width)),
  );
}

function rowClass({ recommendation: { full, causal } }: ComparisonReport): (row: Row) => string | undefined {
  return ({ label, baseline, failed }) => {
    if (failed !== undefined) return 'failed';
    return baseline ? 'exact' : label === full || label === causal ? 'pick' : undefined;
  };
}

/** A chosen row in words, with pages to read and code to type. */
function howToUse({ label, method, pages, code, command }: Use): HTMLElement {
  const typed = [code, ...(command === undefined ? [] : [command])];
  return element(
    'div',
    { class: 'use' },
    element(
      'p',
      {},
      element('strong', {}, label),
      ` is ${method}. `,
      element('span', { class: 'muted' }, pages.join(', ')),
    ),
    ...typed.map((text) => element('pre', {}, element('code', {}, text))),
  );
}

function headTables(variants: readonly RowWithError[]): HTMLElement {
  const kept = variants.flatMap(({ label, mass }) =>
    mass ? [{ name: label, values: mass.heads.map(({ mean }) => mean) }] : [],
  );
  const errors = variants.map(({ label, error }) => ({
    name: label,
    values: error.heads.map(({ relativeL2 }) => relativeL2),
  }));
  const tables = [heatTable('Error of the output, % (relative L2)', errors)];
  if (kept.length > 0) tables.unshift(heatTable('Attention kept, % (mean over the queries)', kept));
  return section('What each head keeps and loses', element('div', { class: 'beside' }, ...tables));
}

function whereTokensLook(
  glances: Glances,
  grid: readonly [number, number],
  photograph: Photograph | undefined,
): HTMLElement {
  return section(
    'Where tokens of the picture look',
    paragraph(
      `Exact, full attention of ${glances.tokens.length} tokens, each with a map of the whole grid in which a ring marks its own place. Each map is as bright as its own largest share.`,
      'muted',
    ),
    ...glancePictures(glances, grid, photograph),
  );
}

function mapsKey({ queriesPerBin }: ComparisonReport['maps']): string {
  const row = queriesPerBin === 1 ? 'is one query' : `is the average of ${queriesPerBin} neighbouring queries`;
  return `Each row of a map ${row} and sums to 100%.`;
}

function masksKey({ extents: { n, m } }: ComparisonReport): HTMLElement {
  return paragraph(`Which of the ${m} keys (to the right) each of the ${n} queries (downwards) sees.`, 'muted');
}

/** A column of numbers; – where a row has none. */
function figures(
  header: string,
  help: string,
  value: (row: Row) => number | undefined,
  format: (value: number) => string = formatPercent,
): SortableColumn<Row> {
  const cell = (row: Row) => {
    const found = value(row);
    return found === undefined ? '–' : format(found);
  };
  return { header, help, value, cell };
}

const columns: readonly SortableColumn<Row>[] = [
  { header: 'Attention', value: (row) => row.label },
  {
    header: 'Time',
    help: 'Median of one call; point at a cell for the spread',
    value: (row) => row.time?.median,
    cell: ({ time }) =>
      time
        ? element(
            'span',
            { title: `${formatTime(time.min)} to ${formatTime(time.max)} in ${calls(time.repeats)}` },
            formatTime(time.median),
          )
        : '–',
  },
  figures('Speed-up', 'Over exact full or exact causal attention', (row) => row.speedup, formatRatio),
  figures('Error', 'Relative L2 distance of the output from the exact one', (row) => row.error?.relativeL2),
  figures(
    'Cosine',
    'Of the output and the exact one',
    (row) => row.error?.cosine,
    (value) => value.toFixed(4),
  ),
  figures('Kept', 'Attention mass on the keys kept: mean over heads and queries', (row) => row.mass?.mean),
  figures('Least kept', 'The same, of the query that loses most', (row) => row.mass?.min),
  figures(
    'Entropy',
    'How the attention of exact attention, and of methods that need training, spreads, in bits: 0 is all on one key; mean over heads and a few queries',
    (row) => row.entropy?.mean,
    significant,
  ),
  figures('Visited', 'Share of the query-key pairs that are computed', (row) => row.visited),
  figures('Work', 'Multiplications and additions of one call', (row) => row.flops, formatFlops),
  figures('Memory', 'Results and working memory of one call', (row) => row.memory, formatBytes),
];

/** Those of all rows, and those that only some have. */
const columnsOf = (rows: readonly Row[]): readonly SortableColumn<Row>[] => [
  ...columns.slice(0, BEFORE_LOSSES),
  ...(rows.some(hasLoss) ? LOSSES : []),
  ...columns.slice(BEFORE_LOSSES, BEFORE_REACH),
  ...(rows.some(hasReach) ? [REACH] : []),
  ...columns.slice(BEFORE_REACH),
];

const REACH = figures(
  'Reach',
  'The side, in tokens, of the square around the middle of the picture that has nine tenths of its weights',
  (row) => row.reach,
  String,
);

const [BEFORE_LOSSES, BEFORE_REACH] = [4, -2];
const LOSSES: readonly SortableColumn<Row>[] = [
  figures('Loss', 'Of the next token, in nats, with this attention in the layer', (row) => row.loss?.layer, lossText),
  figures('Loss in all', 'With this attention in all layers', (row) => row.loss?.all, lossText),
];

function picture([label, svg]: [string, string]): HTMLElement {
  const figure = element('figure');
  figure.innerHTML = svg;
  figure.append(element('figcaption', {}, label));
  return figure;
}

const calls = (count: number) => (count === 1 ? 'one call' : `${count} calls`);

function explanation({ rows }: ComparisonReport): Child[] {
  const measured = rows.filter(isMeasured);
  const worst = Math.max(0, ...measured.map((row) => row.exactness ?? 0));
  const counts = measured.map(({ time }) => time.repeats);
  const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
  const trained = rows.some(needsTraining) ? ', that of every method that needs training on the first tokens' : '';
  const failed = measured.length < rows.length ? ' What failed has no figures.' : '';
  const times =
    most === 1
      ? 'Times are of one call each.'
      : `Times are medians of ${fewest === most ? '' : `${fewest} to `}${most} repeats that alternate between the variants.`;
  return [
    paragraph(
      `Before anything was timed, the result of every mask was checked against plain loops in float64 on a few queries${trained}: the largest difference was ${significant(worst)} of the largest value.${failed}`,
    ),
    paragraph(
      `${times} Memory is the most that one call held beside its inputs. Attention kept is the exact softmax probability, under the baseline, of the keys that a mask keeps. Error is the Euclidean distance from the output of exact attention (full or causal, as the variant is) over that output's norm.`,
    ),
  ];
}
