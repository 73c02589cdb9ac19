/** The plot of useful GF/s over the length, one line a contender, one panel a mask and head dimension. */
import * as Plot from '@observablehq/plot';
import type { BenchRow } from '../bench/report';
import { formatTime, significant } from '../text/format';
import { element } from './dom';

/** The plot and its key, at a width in pixels. */
export function ratesPlot(rows: readonly BenchRow[], width: number): Element {
  const plot = Plot.plot(options(rows, width));
  const color = plot.scale('color');
  const keys = [...(color?.domain ?? [])].map((label: string) => {
    const dot = element('span', { style: `color: ${color?.apply(label)}`, 'aria-hidden': 'true' }, '● ');
    return element('span', { style: 'margin-right: 1.25rem; display: inline-block' }, dot, label);
  });
  return element('figure', {}, element('figcaption', {}, ...keys), plot);
}

function options(rows: readonly BenchRow[], width: number): Plot.PlotOptions {
  const measured = rows.filter(({ measures }) => measures.rate !== undefined).sort((a, b) => a.n - b.n);
  const lengths = [...new Set(measured.map(({ n }) => n))].sort((a, b) => a - b);
  const dimensions = new Set(measured.map(({ d }) => d));
  const labels = [...new Set(rows.filter((row) => measured.includes(row)).map(({ label }) => label))];
  const rates = measured.map((row) => rateOf(row));
  const domain = [Math.min(...rates) / 1.5, Math.max(...rates) * 1.5] as const;
  const ticks = [-3, -2, -1, 0, 1, 2, 3].map((power) => 10 ** power).filter((rate) => inside(rate, domain));
  const axes = { x: 'n', y: rateOf, fx: 'mask', fy: 'd' };
  return {
    width,
    height: 60 + 260 * dimensions.size,
    marginLeft: 56,
    marginRight: 64,
    marginBottom: 44,
    style: { background: 'transparent', color: 'var(--text)', fontSize: '12px' },
    x: { type: 'log', base: 2, ticks: lengths, tickFormat: String, label: 'Length n →' },
    y: { type: 'log', domain, ticks, tickFormat: String, label: '↑ Useful GF/s' },
    fx: { label: null, domain: [...new Set(measured.map(({ mask }) => mask))] },
    fy: { label: null, tickFormat: (d: number) => `d = ${d}` },
    color: { scheme: labels.length > 10 ? 'Paired' : 'Observable10', domain: labels },
    marks: [
      Plot.gridY(ticks, { stroke: 'var(--line)', strokeOpacity: 1 }),
      Plot.frame({ stroke: 'var(--line)' }),
      Plot.line(measured, { ...axes, stroke: 'label', strokeWidth: 2 }),
      Plot.dot(measured, { ...axes, fill: 'label', r: 3 }),
      Plot.tip(measured, Plot.pointer({ ...axes, title: describe, fill: 'var(--surface)' })),
    ],
  };
}

const rateOf = ({ measures }: BenchRow): number => measures.rate ?? Number.NaN;
const inside = (x: number, [low, high]: readonly [number, number]): boolean => x >= low && x <= high;

function describe({ label, n, measures: { time = 0, rate = 0 } }: BenchRow): string {
  return `${label}\nn = ${n}: ${significant(rate)} GF/s, ${formatTime(time)}`;
}
