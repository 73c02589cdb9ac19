/** What `saccade simulate gna` shows in the terminal. */
import { styleText } from 'node:util';
import type { GnaSimulation } from '../simulate/gna';
import type { PublishedComparison } from '../simulate/published';
import { sizeOf } from '../tensor/shape';
import { formatPercent, formatRatio, significant } from '../text/format';
import { formatTable, right } from '../text/table';

/** What the command prints as JSON. */
export interface GnaReport extends GnaBounds {
  readonly attentionShare: number;
  /** The same with each of the kernel's tiles, if it has several; the report is for those that compute the fewest pairs. */
  readonly menu?: readonly GnaBounds[];
  /** Strides worth having, best first. */
  readonly suggestions?: readonly GnaBounds[];
  readonly published?: PublishedComparison;
}

/** A simulation with the end-to-end speed-ups that follow from its bounds. */
export interface GnaBounds extends GnaSimulation {
  readonly endToEnd: number;
  readonly meanEndToEnd: number;
  readonly flopEndToEnd: number;
}

export function gnaText(report: GnaReport): string {
  const { queryTile, keyTile, tiling, perfectlyBlockSparse, menu, suggestions, published } = report;
  const title = styleText('bold', `neighborhood attention on a grid of ${joined(report.grid)}`);
  const tiles = `tiles of ${joined(queryTile)} queries by ${joined(keyTile)} keys, ${tiling}`;
  const verdict = perfectlyBlockSparse
    ? 'Perfectly block-sparse: every visited tile is seen whole.'
    : 'Not perfectly block-sparse: some visited tiles need a mask.';
  const sections = [`${title}, ${tiles}`, axisTable(report), `${boundTable(report)}\n${verdict}`];
  if (menu) sections.push(titled('Tiles of the kernel', simulationTable(menu, report.attentionShare)));
  if (suggestions) {
    const table = simulationTable(suggestions, report.attentionShare);
    sections.push(titled('Strides worth having: each computes less than every smaller one, the best first', table));
  }
  if (published) sections.push(titled('Published', publishedText([published])));
  return sections.join('\n\n');
}

export function publishedText(rows: readonly PublishedComparison[]): string {
  const all = ['tiles', 'visited', 'bound', 'end to end', 'published', 'measured'];
  const some = ['some steps', 'published', 'measured'];
  const table = formatTable(
    ['model', 'window', 'stride', ...[...all, ...some].map(right)],
    rows.map((row) => [
      row.model,
      joined(row.window),
      joined(row.stride),
      joined(row.tilesPerAxis),
      `${row.visited} of ${row.total}`,
      formatRatio(row.speedup),
      formatRatio(row.computed.allSteps),
      formatRatio(row.allSteps.simulated) + (row.notReproduced ? ' !' : ''),
      formatRatio(row.allSteps.measured),
      ...(row.someSteps && row.computed.someSteps !== undefined
        ? [row.computed.someSteps, row.someSteps.simulated, row.someSteps.measured].map(formatRatio)
        : some.map(() => '')),
    ]),
  );
  const notes = [...new Set(rows.flatMap(notesOf))];
  return [table, ...notes.map((note) => styleText('dim', note))].join('\n');
}

function notesOf(row: PublishedComparison): string[] {
  const tiles = `tiles of ${joined(row.queryTile)} queries by ${joined(row.keyTile)} keys`;
  return [
    'End-to-end speed-ups as computed here, and as arXiv 2504.16922 simulated and measured them (on a B200).',
    `${row.model}: ${row.source}; ${tiles}${row.tilesPrinted ? '' : ' (found by search)'}; ` +
      `${formatPercent(row.attentionShare)} attention; some steps: all but ${row.denseSteps} of ${row.steps}`,
    ...(row.notReproduced ? [`! not reproduced: ${row.notReproduced}`] : []),
  ];
}

function axisTable({ grid, window, stride, dilation, causal, keyTile, ...counts }: GnaReport): string {
  const { tilesPerAxis, meanTilesPerAxis } = counts;
  const isFlat = keyTile.length < grid.length;
  const counted = isFlat ? [] : ['key tiles visited', 'mean'];
  return formatTable(
    ['axis', 'tokens', 'window', 'stride', 'dilation', 'causal', ...counted].map(right),
    grid.map((length, at) => {
      const cells = [at, length, window[at], stride[at], dilation[at], causal[at] ? 'yes' : 'no'].map(String);
      const total = Math.ceil(length / (keyTile[at] as number));
      return isFlat
        ? cells
        : [...cells, `${tilesPerAxis[at]} of ${total}`, significant(meanTilesPerAxis[at] as number)];
    }),
  );
}

function boundTable(report: GnaReport): string {
  const { visited, meanVisited, total, attentionShare } = report;
  const rows: [string, string, number, number][] = [
    ['worst query tile', `${visited} of ${total}`, report.speedup, report.endToEnd],
    ['mean over query tiles', `${significant(meanVisited)} of ${total}`, report.meanSpeedup, report.meanEndToEnd],
    ['multiplications', '', report.flopSpeedup, report.flopEndToEnd],
  ];
  const columns = ['bound by', ...['key tiles', 'attention', ...endToEndHeader(attentionShare)].map(right)];
  return formatTable(
    columns,
    rows.map(([name, tiles, ...speedups]) => [name, tiles, ...speedups.map(formatRatio)].slice(0, columns.length)),
  );
}

function simulationTable(simulations: readonly GnaBounds[], attentionShare: number): string {
  const headers = ['tiles', 'visited', 'computed', 'worst tile', 'mean', ...endToEndHeader(attentionShare)];
  return formatTable(
    ['stride', 'query tile', 'key tile', ...headers.map(right), 'block-sparse'],
    simulations.map((each) => [
      joined(each.stride),
      joined(each.queryTile),
      joined(each.keyTile),
      joined(each.tilesPerAxis),
      `${each.visited} of ${each.total}`,
      formatPercent(each.computedPairs / sizeOf(each.grid) ** 2),
      formatRatio(each.speedup),
      formatRatio(each.meanSpeedup),
      ...endToEndHeader(attentionShare).map(() => formatRatio(each.endToEnd)),
      each.perfectlyBlockSparse ? 'yes' : 'no',
    ]),
  );
}

/** If attention is the whole run, its speed-up is that of the run. */
function endToEndHeader(attentionShare: number): string[] {
  return attentionShare === 1 ? [] : [`end to end, ${formatPercent(attentionShare)} attention`];
}

function titled(title: string, text: string): string {
  return `${styleText('bold', title)}\n${text}`;
}

function joined(extents: readonly number[]): string {
  return extents.join('x');
}
