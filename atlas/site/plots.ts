/** The plots of a method's page. */
import { axisX, axisY, dot, line, type PlotOptions, plot, ruleX, text } from '@observablehq/plot';
import { formatBytes, formatFlops } from '../../src/text/format';
import type { CostLine } from './tasks/cost';

export interface CostPlot {
  readonly lengths: readonly number[];
  readonly lines: readonly CostLine[];
  readonly metric: 'flops' | 'bytes' | 'state';
  readonly own: string;
  /** Tokens at hand. */
  readonly now: number;
}

export const STYLE = { background: 'none', overflow: 'visible', fontFamily: 'inherit', fontSize: '12.5px' };
const short = (n: number) => (n >= 1024 ? `${n / 1024}K` : String(n));

export const written = (metric: CostPlot['metric'], value: number) =>
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

export function costPlot(width: number, { lengths, lines, metric, own, now }: CostPlot): SVGSVGElement {
  const points: CostPoint[] = lines.flatMap(({ method, costs }) =>
    lengths.flatMap((n, at) => {
      const value = costs[at]?.[metric];
      return value ? [{ method, n, value }] : [];
    }),
  );
  const ends = lines.flatMap(({ method }) => points.filter((point) => point.method === method).slice(-1));
  return named('Cost against length', {
    width,
    height: 244,
    marginLeft: 62,
    marginRight: 8,
    marginTop: 20,
    marginBottom: 42,
    style: STYLE,
    x: { type: 'log', base: 2, domain: [lengths[0], lengths.at(-1)!] },
    y: { type: 'log', grid: true },
    marks: [
      axisX({ ticks: [64, 512, 4096, 32768], tickFormat: short, label: 'tokens', labelOffset: 38, tickSize: 4 }),
      axisY({ ticks: 5, tickFormat: (value: number) => written(metric, value), label: null, tickSize: 0 }),
      line(points, {
        x: 'n',
        y: 'value',
        z: 'method',
        stroke: (point) => (point.method === own ? 'var(--family)' : 'var(--quiet)'),
        strokeWidth: (point) => (point.method === own ? 2.6 : 1.5),
      }),
      text(spread(ends), {
        x: 'n',
        y: 'value',
        text: 'method',
        dx: -4,
        dy: -9,
        textAnchor: 'end',
        fill: (point: CostPoint) => (point.method === own ? 'var(--family)' : 'var(--quiet)'),
        fontWeight: (point: CostPoint) => (point.method === own ? 700 : 400),
      } as never),
      ruleX([now], { stroke: 'var(--hand)' }),
      dot(
        points.filter(({ n }) => n === now),
        { x: 'n', y: 'value', r: 4, fill: 'var(--hand)', stroke: 'var(--paper)' },
      ),
    ],
  });
}

/** Labels at the ends of lines, far enough apart on a logarithmic axis. */
export function spread<P extends { readonly value: number }>(ends: readonly P[], apart = 3): P[] {
  const sorted = ends.toSorted((a, b) => a.value - b.value);
  const placed: P[] = [];
  for (const end of sorted) placed.push({ ...end, value: Math.max(end.value, (placed.at(-1)?.value ?? 0) * apart) });
  return placed;
}

export function reachPlot(width: number, counts: readonly number[], tokens: number, layers: number): SVGSVGElement {
  const points = Array.from({ length: layers }, (_, at) => ({
    layer: at + 1,
    share: (counts[at] ?? counts.at(-1)!) / tokens,
  }));
  return named('Reach by layer', {
    width,
    height: 212,
    marginLeft: 62,
    marginRight: 24,
    marginTop: 20,
    marginBottom: 42,
    style: STYLE,
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
