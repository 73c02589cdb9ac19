/** Pictures of masks: queries downwards, keys to the right, each cell as dark as the share of its pairs that is seen. */
import { checkBoolean, checkOptions, show } from '../check';
import { ParameterError } from '../errors';
import { areaAt, queriesFrom } from './area';
import { checkMask, checkPlace, checkWhole } from './check';
import { keyWords, ones } from './key-words';
import type { Mask, Place } from './mask';

/** By the share seen: none, up to a third, up to two thirds, less than all, all. */
const GLYPHS = [' ·', '░░', '▒▒', '▓▓', '██'] as const;
const LABEL_EVERY = 8;

/** The mask of one head as lines of text, at most `columns` characters wide, with axes and legend. */
export function maskText(mask: Mask, place: Place, columns: number): string {
  checkMask('mask', mask);
  checkPlace(place);
  checkWhole('columns', columns, 1);
  const { n, m } = place;
  const margin = String(n - 1).length + 1;
  const { pairs, shares } = shareGrid(mask, place, Math.max(1, Math.floor((columns - margin) / 2)));
  const picture = shares.map((row, at) => {
    const label = at % LABEL_EVERY === 0 || at === shares.length - 1 ? String(at * pairs) : '';
    return `${label.padStart(margin - 1)} ${row.map((share) => GLYPHS[shade(share)]).join('')}`;
  });
  const legend =
    pairs === 1 ? '██ seen   · not seen' : `██ all seen  ▓▓ ▒▒ ░░ some   · none of a cell's ${pairs} × ${pairs} pairs`;
  const indent = ' '.repeat(margin);
  return [`${indent}keys 0 to ${m - 1} →, queries 0 to ${n - 1} ↓`, ...picture, indent + legend].join('\n');
}

const PLOT = 384;
const LARGEST_GRID = 128;
const SMALLEST_LINED_CELL = 6;
const LEFT = 28;
const TOP = 64;
const MARGIN = 12;
const LABEL = 160;
// Medium lightness, so they show on white and on black.
const INK = '#808080';
const SEEN = '#3f8fd2';

/**
 * The mask of one head as a self-contained SVG document, for light and dark backgrounds. A bare one leaves
 * the words to the page around it; its title element stays.
 */
export function maskSvg(
  mask: Mask,
  place: Place,
  options: { readonly title?: string | undefined; readonly bare?: boolean | undefined } = {},
): string {
  checkMask('mask', mask);
  checkPlace(place);
  checkOptions('maskSvg', options, ['title', 'bare']);
  const { title = mask.name, bare = false } = options;
  if (typeof title !== 'string') throw new ParameterError(`title must be a string, got ${show(title)}`);
  checkBoolean('bare', bare);
  const { n, m } = place;
  const { shares } = shareGrid(mask, place, LARGEST_GRID);
  const rows = shares.length;
  const columns = (shares[0] as readonly number[]).length;
  const cell = Math.floor(PLOT / Math.max(rows, columns));
  const [plotWidth, plotHeight] = [columns * cell, rows * cell];
  const count = maskCount(mask, place);
  const words = `<g font-family="system-ui, sans-serif" font-size="12" fill="${INK}">
<text x="${LEFT}" y="18" font-size="14" font-weight="600">${escapeXml(title)}</text>
<text x="${LEFT}" y="36">${count}</text>
<text x="${LEFT}" y="${TOP - 6}">keys 0 to ${m - 1} →</text>
<text transform="translate(${LEFT - 15} ${TOP}) rotate(90)">queries 0 to ${n - 1} →</text>
</g>
`;
  const [width, height] = bare
    ? [plotWidth, plotHeight]
    : [LEFT + Math.max(plotWidth, PLOT) + MARGIN, TOP + Math.max(plotHeight, LABEL) + MARGIN];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">
<title>${escapeXml(`${title}, ${count}`)}</title>
${bare ? '' : words}<g transform="translate(${bare ? '0 0' : `${LEFT} ${TOP}`}) scale(${cell})" shape-rendering="crispEdges">
<path fill="${INK}" fill-opacity="0.12" d="M0 0H${columns}V${rows}H0z"/>
<g fill="${SEEN}">
${cellPaths(shares).join('\n')}
</g>
${cell < SMALLEST_LINED_CELL ? '' : gridLines(rows, columns)}
</g>
</svg>
`;
}

/** How many of one head's pairs the mask sees, in words. */
export function maskCount(mask: Mask, place: Place): string {
  const { n, m } = place;
  const seen = areaAt(mask, place);
  return `${seen.toLocaleString('en')} of ${(n * m).toLocaleString('en')} pairs seen (${((100 * seen) / (n * m)).toFixed(1)}%)`;
}

/** One path for each share that occurs, over runs of equal cells, in cell units. */
function cellPaths(shares: readonly (readonly number[])[]): string[] {
  const paths = new Map<number, string>();
  shares.forEach((row, y) => {
    for (let x = 0, end: number; x < row.length; x = end) {
      const share = row[x] as number;
      end = x + 1;
      while (row[end] === share) end++;
      if (share > 0) paths.set(share, `${paths.get(share) ?? ''}M${x} ${y}h${end - x}v1H${x}z`);
    }
  });
  return [...paths].map(([share, d]) => `<path fill-opacity="${Number(share.toFixed(3))}" d="${d}"/>`);
}

/** Hairlines between cells, so that cells can be counted. */
function gridLines(rows: number, columns: number): string {
  const across = Array.from({ length: rows - 1 }, (_, y) => `M0 ${y + 1}H${columns}`);
  const down = Array.from({ length: columns - 1 }, (_, x) => `M${x + 1} 0V${rows}`);
  return `<path stroke="${INK}" stroke-opacity="0.5" vector-effect="non-scaling-stroke" d="${[...across, ...down].join('')}"/>`;
}

/** Shares of pairs seen, by cells of `pairs` x `pairs` (a power of two), at most `longest` cells along either side. */
function shareGrid(mask: Mask, place: Place, longest: number): { pairs: number; shares: number[][] } {
  const { n, m } = place;
  const pairs = 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(n, m) / longest)));
  const columns = Math.ceil(m / pairs);
  const shares = Array.from({ length: Math.ceil(n / pairs) }, (_, row) => {
    const first = row * pairs;
    const past = Math.min(n, first + pairs);
    const seen = new Array<number>(columns).fill(0);
    for (let i = first; i < past; i += 32) {
      const { starts, words } = keyWords(mask, queriesFrom(i, Math.min(32, past - i)), place);
      for (let at = 0; at + 1 < starts.length; at++) {
        const [start, end] = [starts[at] as number, starts[at + 1] as number];
        const rows = ones(words[at] as number);
        for (let column = Math.floor(start / pairs); column * pairs < end; column++) {
          const overlap = Math.min(end, (column + 1) * pairs) - Math.max(start, column * pairs);
          seen[column] = (seen[column] as number) + rows * overlap;
        }
      }
    }
    return seen.map((count, column) => count / ((past - first) * Math.min(pairs, m - column * pairs)));
  });
  return { pairs, shares };
}

function shade(share: number): number {
  if (share === 0) return 0;
  return share === 1 ? 4 : 1 + Math.floor(3 * share);
}

function escapeXml(text: string): string {
  return text.replace(/[&<>]/g, (character) => `&#${character.charCodeAt(0)};`);
}
