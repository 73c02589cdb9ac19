/** The plot of what is lost against what is gained: output error over speed-up, one mark a variant. */
import * as Plot from '@observablehq/plot';
import { type ComparisonReport, hasError, type RowWithError } from '../compare/comparison';
import { formatLimit, formatPercent, formatRatio, formatTime, significant } from '../text/format';
import { placeLabels } from './labels';

/** Where an error of zero is drawn on a logarithmic axis. */
const SMALLEST_ERROR = 1e-4;
const MARGIN = { top: 28, right: 16, bottom: 44, left: 56 };
/** What the text of a tick needs, in pixels. */
const TICK = { width: 36, height: 30 };

/** The plot at a width in pixels. Exact attention is the line at 1; the tinted corner is what the rule would accept. */
export function tradeOffPlot({ rows, recommendation }: ComparisonReport, width: number): Element {
  const variants = rows.filter(hasError).filter((row) => !row.baseline);
  const height = Math.max(380, Math.min(460, width * 0.6));
  const { maxError } = recommendation;
  const [left, right] = padded([1, ...variants.map((row) => row.speedup)]);
  const [low, high] = padded([maxError, ...variants.map(errorOf)]);
  const speedups = ticks(left, right, TICK.width / (width - MARGIN.left - MARGIN.right));
  const errors = ticks(low, high, TICK.height / (height - MARGIN.top - MARGIN.bottom));
  const options: Plot.PlotOptions = {
    width,
    height,
    marginTop: MARGIN.top,
    marginRight: MARGIN.right,
    marginBottom: MARGIN.bottom,
    marginLeft: MARGIN.left,
    style: { background: 'transparent', color: 'var(--text)', fontSize: '12px' },
    x: { type: 'log', domain: [left, right] },
    y: { type: 'log', domain: [low, high] },
    color: { domain: ['full', 'causal'], range: ['var(--accent)', 'var(--second)'] },
    symbol: { domain: ['full', 'causal'], range: ['circle', 'diamond'] },
  };
  const marks: Plot.Markish[] = [
    Plot.rect([0], { x1: 1, x2: right, y1: low, y2: maxError, fill: 'var(--good)' }),
    Plot.gridX(speedups, { stroke: 'var(--line)', strokeOpacity: 1 }),
    Plot.gridY(errors, { stroke: 'var(--line)', strokeOpacity: 1 }),
    Plot.axisX(speedups, { text: (x: number) => `${x}×`, label: 'Speed-up over exact attention →' }),
    Plot.axisY(errors, { text: formatLimit, label: '↑ Output error (relative L2)' }),
    Plot.ruleX([1], { stroke: 'var(--muted)', strokeDasharray: '4 3' }),
    Plot.ruleY([maxError], { stroke: 'var(--muted)', strokeDasharray: '4 3' }),
    Plot.dot(variants, { x: 'speedup', y: errorOf, fill: useOf, symbol: useOf, r: 5 }),
  ];
  const text = labels(variants, Plot.plot({ ...options, marks }), width, height);
  const tip = Plot.tip(
    variants,
    Plot.pointer({ x: 'speedup', y: errorOf, title: describe, lineHeight: 1.4, fill: 'var(--surface)' }),
  );
  return Plot.plot({ ...options, marks: [...marks, ...text, tip] });
}

/** Text beside each point, placed by the scales of the plot drawn so far. */
function labels(
  variants: readonly RowWithError[],
  { scale }: Plot.Plot,
  width: number,
  height: number,
): Plot.Markish[] {
  const [x, y] = [scale('x'), scale('y')];
  const points = variants.map((row) => ({ x: x?.apply(row.speedup), y: y?.apply(errorOf(row)), text: row.label }));
  const frame = { left: MARGIN.left, right: width, top: MARGIN.top, bottom: height - MARGIN.bottom };
  return placeLabels(points, frame).flatMap((place, at) => {
    const [row, point] = [variants[at] as RowWithError, points[at] as (typeof points)[number]];
    if (!place) return [];
    const [dx, dy] = [place.x - point.x, place.y - point.y];
    const text = Plot.text([row], {
      x: 'speedup',
      y: errorOf,
      text: 'label',
      dx,
      dy,
      fontSize: 11,
      fill: 'var(--text)',
      stroke: 'var(--background)',
      strokeWidth: 3,
    });
    if (!place.apart) return [text];
    const ends = [x?.invert?.(place.x), y?.invert?.(place.y)];
    const line = Plot.link([row], {
      x1: 'speedup',
      y1: errorOf,
      x2: ends[0],
      y2: ends[1],
      stroke: 'var(--muted)',
      strokeOpacity: 0.5,
    });
    return [line, text];
  });
}

const useOf = (row: RowWithError): string => (row.causal ? 'causal' : 'full');
const errorOf = (row: RowWithError): number => Math.max(SMALLEST_ERROR, row.error.relativeL2);

function describe(row: RowWithError): string {
  return [
    row.label,
    `${formatRatio(row.speedup)} (${formatTime(row.time.median)})`,
    `error ${formatPercent(row.error.relativeL2)}, cosine ${significant(row.error.cosine)}`,
    row.mass && `keeps ${formatPercent(row.mass.mean)} of the attention`,
  ]
    .filter(Boolean)
    .join('\n');
}

/** The range of the values with room around it, for a logarithmic axis. */
function padded(values: readonly number[]): [number, number] {
  return [Math.min(...values) / 1.4, Math.max(...values) * 1.4];
}

/** Round values within a range for a logarithmic axis, as dense as leaves each `room`, a share of the axis, to itself. */
function ticks(low: number, high: number, room: number): number[] {
  const powers = Array.from({ length: 31 }, (_, at) => at - 15);
  const choices = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1]].map((digits) =>
    powers
      .flatMap((power) => digits.map((digit) => Number(`${digit}e${power}`)))
      .filter((tick) => tick >= low && tick <= high),
  );
  const fits = (choice: readonly number[]) =>
    choice.every((tick, at) => at === 0 || Math.log(tick / (choice[at - 1] as number)) >= room * Math.log(high / low));
  return choices.find(fits) ?? [];
}
