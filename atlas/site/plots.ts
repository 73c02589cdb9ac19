/** The plots of a method's page. */
import { axisX, axisY, dot, gridY, line, type PlotOptions, plot, ruleX, text } from '@observablehq/plot';
import { formatBytes, formatFlops } from '../../src/text/format';
import type { PageData } from '../build/page-data';
import { lengthName } from './problem';
import type { Shown } from './shown';
import { spread } from './spread';
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

/** On axes, whose numbers are round. */
const marked = (metric: Metric, value: number) => written(metric, value).replace(/\.0+(?= )/, '');

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

interface LinePoint {
  readonly method: string;
  readonly x: number;
  readonly y: number;
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
    if (method === baseline) return { stroke: 'var(--quiet)', strokeWidth: 1.5, strokeDasharray: '4 3' };
    const at = others.indexOf(method);
    const strokeDasharray = DASHES[Math.floor(at / inks.length) % DASHES.length];
    return { stroke: `var(${inks[at % inks.length]})`, strokeWidth: 1.5, strokeDasharray };
  };
}

/** The frame of plots of lines: room for names at their ends. */
const FRAME = { height: 228, marginLeft: 66, marginRight: 112, marginTop: 20, marginBottom: 42, style: STYLE } as const;
const LINE_HEIGHT = 14;
/** Letters of a name that fit beside a plot. */
const LETTERS = 14;

/** The names of lines at their ends, moved apart. `down` is where a value lies, in pixels. */
function names(points: readonly LinePoint[], own: PageData, styleOf: StyleOf, down: (y: number) => number) {
  const ends = [...Map.groupBy(points, ({ method }) => method).values()].map((line) => line.at(-1)!);
  const said = ends
    .map((end) => ({ ...end, place: down(end.y), lines: broken(own.names[end.method] ?? end.method) }))
    .sort((a, b) => a.place - b.place);
  const floor = FRAME.height - FRAME.marginBottom + LINE_HEIGHT / 2;
  const places = spread(
    said.map(({ place }) => place),
    said.map(({ lines }) => LINE_HEIGHT * lines.length),
    floor,
  );
  return said.map(({ x, y, place, method, lines }, at) =>
    text([{ x, y }], {
      x: 'x',
      y: 'y',
      text: () => lines.join('\n'),
      dx: 8,
      dy: places[at] - place + (LINE_HEIGHT * (lines.length - 1)) / 2,
      textAnchor: 'start',
      lineHeight: LINE_HEIGHT / 12.5,
      fill: styleOf(method).stroke,
      fontWeight: method === own.name ? 700 : 400,
    }),
  );
}
type StyleOf = ReturnType<typeof lineStyles>;

/** A name in lines that fit beside a plot. */
function broken(name: string): string[] {
  const lines = [''];
  for (const word of name.split(' ')) {
    if (lines.at(-1) !== '' && lines.at(-1)!.length + word.length >= LETTERS) lines.push('');
    lines[lines.length - 1] += `${lines.at(-1) === '' ? '' : ' '}${word}`;
  }
  return lines;
}

const inside = FRAME.height - FRAME.marginTop - FRAME.marginBottom;
const lines = (points: readonly LinePoint[], styleOf: StyleOf) =>
  [...Map.groupBy(points, ({ method }) => method)].map(([method, line_]) =>
    line(line_, { x: 'x', y: 'y', ...styleOf(method) }),
  );

export function costPlot(width: number, { lengths, lines: costs, metric, own, now }: CostPlot): SVGSVGElement {
  const points = costs.flatMap(({ method, costs }) =>
    lengths.flatMap((x, at) => {
      const y = costs[at]?.[metric];
      return y ? [{ method, x, y }] : [];
    }),
  );
  const styleOf = lineStyles(
    costs.map(({ method }) => method),
    own,
  );
  const values = points.map(({ y }) => y);
  const [low, high] = values.length > 0 ? [Math.min(...values) / 1.5, Math.max(...values) * 1.5] : [1, 2];
  const down = (y: number) => FRAME.marginTop + (inside * Math.log(high / y)) / Math.log(high / low);
  return named('Cost against length', {
    ...FRAME,
    width,
    x: { type: 'log', base: 2, domain: [lengths[0], lengths.at(-1)!] },
    y: { type: 'log', base: metric === 'flops' ? 10 : 2, domain: [low, high] },
    marks: [
      gridY({ ticks: 5 }),
      axisX({ ticks: [64, 1024, 16384], tickFormat: short, label: lengthName(own), labelOffset: 38, tickSize: 4 }),
      axisY({ ticks: 5, tickFormat: (value: number) => marked(metric, value), label: null, tickSize: 0 }),
      ruleX(now >= lengths[0] && now <= lengths.at(-1)! ? [now] : [], { stroke: 'var(--hand)' }),
      ...lines(points, styleOf),
      dot(
        points.filter(({ x }) => x === now),
        { x: 'x', y: 'y', r: 4, fill: 'var(--hand)', stroke: 'var(--paper)' },
      ),
      ...names(points, own, styleOf, down),
    ],
  });
}

/** What a query reaches of what it could, by layer: of the method at hand, whose layers in view are marked, and of rivals. */
export interface ReachPlot {
  readonly lines: readonly { readonly method: string; readonly shares: readonly number[] }[];
  readonly layers: number;
  readonly shown: number;
  readonly own: PageData;
}

export function reachPlot(width: number, { lines: reached, layers, shown, own }: ReachPlot): SVGSVGElement {
  const points = reached.flatMap(({ method, shares }) =>
    Array.from({ length: layers }, (_, at) => ({ method, x: at + 1, y: shares[at] ?? shares.at(-1)! })),
  );
  const styleOf = lineStyles(
    reached.map(({ method }) => method),
    own,
  );
  const mine = points.filter(({ method }) => method === own.name);
  return named('Reach by layer', {
    ...FRAME,
    width,
    x: { domain: [1, layers] },
    y: { domain: [0, 1], grid: true },
    marks: [
      axisX({ ticks: layers, tickFormat: 'd', label: 'layers', labelOffset: 38, tickSize: 4 }),
      axisY({ ticks: 5, tickFormat: '%', label: null, tickSize: 0 }),
      ...lines(points, styleOf),
      dot(mine, { x: 'x', y: 'y', r: 3, fill: 'var(--family)' }),
      dot(
        mine.filter(({ x }) => x === shown),
        { x: 'x', y: 'y', r: 4.5, fill: 'var(--hand)', stroke: 'var(--paper)' },
      ),
      ...names(points, own, styleOf, (y) => FRAME.marginTop + inside * (1 - y)),
    ],
  });
}

export function withinPlot(width: number, { shares, alike }: WeightsWithin, own: PageData): SVGSVGElement {
  const of = (method: string, values: Float64Array) =>
    Array.from(values, (y, at): LinePoint => ({ method, x: at + 1, y }));
  const points = [...of('all alike', alike), ...of(own.name, shares)];
  const styleOf: StyleOf = (method) =>
    method === own.name
      ? { stroke: 'var(--family)', strokeWidth: 2.6 }
      : { stroke: 'var(--quiet)', strokeWidth: 1.5, strokeDasharray: '4 3' };
  return named('Weight by distance', {
    ...FRAME,
    width,
    x: { type: 'log', base: 2, domain: [1, shares.length] },
    y: { domain: [0, 1], grid: true },
    marks: [
      axisX({ ticks: 5, tickFormat: short, label: 'nearer than so many tokens', labelOffset: 38, tickSize: 4 }),
      axisY({ ticks: 5, tickFormat: '%', label: null, tickSize: 0 }),
      ...lines(points, styleOf),
      ...names(points, own, styleOf, (y) => FRAME.marginTop + inside * (1 - y)),
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
    marginRight: 24,
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
