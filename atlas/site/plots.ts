/** The plots of a method's page. */
import { axisX, axisY, dot, gridY, line, type PlotOptions, plot, ruleX, text } from '@observablehq/plot';
import { formatBytes, formatFlops } from '../../src/text/format';
import type { PageData } from '../build/page-data';
import { lengthName } from './problem';
import type { Shown } from './shown';
import type { CostLine } from './tasks/cost';
import type { WeightsWithin } from './tasks/weights';

export type Metric = 'flops' | 'bytes' | 'state';

export interface CostPlot {
  readonly lengths: readonly number[];
  readonly lines: readonly CostLine[];
  readonly metric: Metric;
  readonly own: PageData;
  /** The length at hand. */
  readonly now: number;
}

export const STYLE = { background: 'none', overflow: 'visible', fontFamily: 'inherit', fontSize: '12.5px' };
const short = (n: number) => (n >= 1024 ? `${n / 1024}K` : String(n));

export const written = (metric: Metric, value: number) =>
  metric === 'flops' ? formatFlops(value) : formatBytes(value);

/** A plot is one picture to a screen reader; what it says stands below it. */
export function named(label: string, options: PlotOptions): SVGSVGElement {
  const svg = plot(options) as SVGSVGElement;
  for (const part of svg.querySelectorAll('[aria-label]')) part.removeAttribute('aria-label');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  return svg;
}

interface CostPoint {
  readonly method: string;
  readonly n: number;
  readonly value: number;
}

/** Lines of other methods: inks of families, then the same dashed. */
const INKS = ['fixed', 'kernel', 'conv', 'chosen', 'linear'];
const DASHES = ['', '7 3', '2 3', '8 3 2 3'];

/** How the line of each method is drawn. */
export function lineStyles(methods: readonly string[], { name: own, baseline }: PageData) {
  const colours = getComputedStyle(document.body);
  const family = colours.getPropertyValue('--family');
  const inks = INKS.map((name) => `--ink-${name}`).filter((ink) => colours.getPropertyValue(ink) !== family);
  const others = methods.filter((method) => method !== own && method !== baseline);
  return (method: string) => {
    if (method === own) return { stroke: 'var(--family)', strokeWidth: 2.6 };
    if (method === baseline) return { stroke: 'var(--quiet)', strokeWidth: 1.5 };
    const at = others.indexOf(method);
    const strokeDasharray = DASHES[Math.floor(at / inks.length) % DASHES.length];
    return { stroke: `var(${inks[at % inks.length]})`, strokeWidth: 1.5, strokeDasharray };
  };
}

export function costPlot(width: number, { lengths, lines, metric, own, now }: CostPlot): SVGSVGElement {
  const points: CostPoint[] = lines.flatMap(({ method, costs }) =>
    lengths.flatMap((n, at) => {
      const value = costs[at]?.[metric];
      return value ? [{ method, n, value }] : [];
    }),
  );
  const [marginTop, marginBottom, labelHeight] = [20, 42, 14];
  const height = 244 + labelHeight * Math.max(0, lines.length - 4);
  const styleOf = lineStyles(
    lines.map(({ method }) => method),
    own,
  );
  const ends = lines.flatMap(({ method }) => points.filter((point) => point.method === method).slice(-1));
  const values = points.map(({ value }) => value);
  const domain = [Math.min(...values) / 1.5, Math.max(...values) * 1.5];
  const apart = (domain[1] / domain[0]) ** (labelHeight / (height - marginTop - marginBottom));
  return named('Cost against length', {
    width,
    height,
    marginLeft: 80,
    marginRight: 8,
    marginTop,
    marginBottom,
    style: STYLE,
    x: { type: 'log', base: 2, domain: [lengths[0], lengths.at(-1)!] },
    y: { type: 'log', base: metric === 'flops' ? 10 : 2, domain: values.length > 0 ? domain : [1, 2] },
    marks: [
      gridY({ ticks: 5 }),
      axisX({ ticks: [64, 512, 4096, 32768], tickFormat: short, label: lengthName(own), labelOffset: 38, tickSize: 4 }),
      axisY({ ticks: 5, tickFormat: (value: number) => written(metric, value), label: null, tickSize: 0 }),
      ruleX(now >= lengths[0] && now <= lengths.at(-1)! ? [now] : [], { stroke: 'var(--hand)' }),
      ...lines.map(({ method }) =>
        line(
          points.filter((point) => point.method === method),
          { x: 'n', y: 'value', ...styleOf(method) },
        ),
      ),
      dot(
        points.filter(({ n }) => n === now),
        { x: 'n', y: 'value', r: 4, fill: 'var(--hand)', stroke: 'var(--paper)' },
      ),
      ...spread(ends, apart).map((end) =>
        text([end], {
          x: 'n',
          y: 'value',
          text: 'method',
          dx: -4,
          dy: -9,
          textAnchor: 'end',
          fill: styleOf(end.method).stroke,
          stroke: 'var(--paper)',
          strokeWidth: 4,
          fontWeight: end.method === own.name ? 700 : 400,
        }),
      ),
    ],
  });
}

/** Labels at the ends of lines, apart by a factor: upwards, then from the highest line down where they rose above it. */
export function spread<P extends { readonly value: number }>(ends: readonly P[], apart: number): P[] {
  const sorted = ends.toSorted((a, b) => a.value - b.value);
  const highest = sorted.at(-1)?.value ?? 1;
  const values = sorted.map(({ value }) => value);
  for (let at = 1; at < values.length; at++) values[at] = Math.max(values[at], values[at - 1] * apart);
  for (let [at, most] = [values.length - 1, highest]; at >= 0 && values[at] > most; at--, most /= apart)
    values[at] = most;
  return sorted.map((end, at) => ({ ...end, value: values[at] }));
}

/** The frame of plots of shares. */
const FRAME = { height: 212, marginLeft: 80, marginRight: 24, marginTop: 20, marginBottom: 42, style: STYLE } as const;

export function reachPlot(width: number, counts: readonly number[], tokens: number, layers: number): SVGSVGElement {
  const points = Array.from({ length: layers }, (_, at) => ({
    layer: at + 1,
    share: (counts[at] ?? counts.at(-1)!) / tokens,
  }));
  return named('Reach by layer', {
    ...FRAME,
    width,
    x: { domain: [1, layers] },
    y: { domain: [0, 1], grid: true },
    marks: [
      axisX({ ticks: layers, tickFormat: 'd', label: 'layers', labelOffset: 38, tickSize: 4 }),
      axisY({ ticks: 5, tickFormat: '%', label: null, tickSize: 0 }),
      line(points, { x: 'layer', y: 'share', stroke: 'var(--family)', strokeWidth: 2.6 }),
      dot(points, { x: 'layer', y: 'share', r: 3, fill: 'var(--family)' }),
    ],
  });
}

export function withinPlot(width: number, { shares, alike }: WeightsWithin): SVGSVGElement {
  const points = (values: Float64Array) => Array.from(values, (share, at) => ({ tokens: at + 1, share }));
  const end = { x: 'tokens', y: 'share', dy: -9, textAnchor: 'end', stroke: 'var(--paper)', strokeWidth: 4 } as const;
  const label = (values: Float64Array) =>
    points(values)
      .slice(Math.floor(values.length / 3))
      .slice(0, 1);
  return named('Weight by distance', {
    ...FRAME,
    width,
    x: { type: 'log', base: 2, domain: [1, shares.length] },
    y: { domain: [0, 1], grid: true },
    marks: [
      axisX({ ticks: 5, tickFormat: short, label: 'nearer than so many tokens', labelOffset: 38, tickSize: 4 }),
      axisY({ ticks: 5, tickFormat: '%', label: null, tickSize: 0 }),
      line(points(alike), { x: 'tokens', y: 'share', stroke: 'var(--quiet)', strokeWidth: 1.5 }),
      line(points(shares), { x: 'tokens', y: 'share', stroke: 'var(--family)', strokeWidth: 2.6 }),
      text(label(alike), { ...end, text: () => 'all alike', fill: 'var(--quiet)' }),
    ],
  });
}

/** Each row of numbers as a line over its places. */
export function curvesPlot(width: number, { name, rows, columns, data }: Shown): SVGSVGElement {
  const points = Array.from({ length: rows * columns }, (_, at) => ({
    row: Math.floor(at / columns),
    at: at % columns,
    value: data[at],
  }));
  return named(name, {
    ...FRAME,
    width,
    x: { domain: [0, columns - 1] },
    y: { grid: true },
    marks: [
      axisX({ ticks: 5, label: null, tickSize: 4 }),
      axisY({ ticks: 5, label: null, tickSize: 0 }),
      line(points, {
        x: 'at',
        y: 'value',
        z: 'row',
        stroke: 'var(--family)',
        strokeOpacity: ({ row }: { readonly row: number }) => 1 - (0.8 * row) / rows,
        strokeWidth: rows > 1 ? 1.5 : 2.6,
      }),
    ],
  });
}
