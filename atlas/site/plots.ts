/** The plots of a method's page. */
import { formatBytes, formatFlops, significant } from '../../src/text/format';
import type { PageData } from '../build/page-data';
import { type Axis, linePlot, OWN, type PlotLine, powerTicks, roundTicks } from './line-plot';
import { lengthName } from './problem';
import type { Shown } from './shown';
import type { CostLine } from './tasks/cost';
import type { WeightsWithin } from './tasks/weights';

export type Metric = 'flops' | 'bytes' | 'state';

export const written = (metric: Metric, value: number) =>
  metric === 'flops' ? formatFlops(value) : formatBytes(value);

const short = (n: number) => (n >= 1024 ? `${n / 1024}K` : String(n));
const percent = (share: number) => `${Math.round(100 * share)}%`;
const SHARES: Axis = { domain: [0, 1], ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], written: percent };

/** Lines of other methods: inks of families, then the same dashed. */
const INKS = ['fixed', 'kernel', 'conv', 'chosen', 'linear'];
const DASHES = ['', '7 3', '2 3', '8 3 2 3'];

type Style = Pick<PlotLine, 'ink' | 'width' | 'dash'>;

const OF_ITSELF: Style = { ink: 'var(--family)', width: OWN };
const OF_BASELINE: Style = { ink: 'var(--quiet)', dash: '4 3' };

/** How the line of each method is drawn. */
export function lineStyles(methods: readonly string[], { name: own, baseline }: PageData): (method: string) => Style {
  const colours = getComputedStyle(document.body);
  const family = colours.getPropertyValue('--family');
  const inks = INKS.map((name) => `--ink-${name}`).filter((ink) => colours.getPropertyValue(ink) !== family);
  const others = methods.filter((method) => method !== own && method !== baseline);
  return (method) => {
    if (method === own) return OF_ITSELF;
    if (method === baseline) return OF_BASELINE;
    const at = others.indexOf(method);
    return { ink: `var(${inks[at % inks.length]})`, dash: DASHES[Math.floor(at / inks.length) % DASHES.length] };
  };
}

export interface CostPlot {
  readonly lengths: readonly number[];
  readonly lines: readonly CostLine[];
  readonly metric: Metric;
  readonly own: PageData;
  /** The length at hand. */
  readonly now: number;
}

export function costPlot(width: number, { lengths, lines: costs, metric, own, now }: CostPlot): string {
  const styleOf = lineStyles(
    costs.map(({ method }) => method),
    own,
  );
  const lines = costs.map(({ method, costs }): PlotLine => {
    const points = lengths.map((x, at) => [x, costs[at]?.[metric] ?? 0] as const).filter(([, y]) => y > 0);
    return { name: own.names[method] ?? method, points, ...styleOf(method) };
  });
  const points = lines.flatMap(({ points }) => points);
  const values = points.length > 0 ? points.map(([, y]) => y) : [1];
  const domain = [Math.min(...values) / 1.5, Math.max(...values) * 1.5] as const;
  const isShown = now >= lengths[0] && now <= lengths.at(-1)!;
  return linePlot({
    label: 'Cost against length',
    width,
    x: {
      domain: [lengths[0], lengths.at(-1)!],
      isLog: true,
      ticks: [64, 1024, 16384],
      written: short,
      label: lengthName(own),
    },
    y: {
      domain,
      isLog: true,
      ticks: powerTicks(domain, metric === 'flops' ? 10 : 4),
      written: (value) => written(metric, value).replace(/\.0+(?= )/, ''),
    },
    lines,
    picked: { ...(isShown && { at: now }), points: points.filter(([x]) => x === now) },
  });
}

/** What a query reaches of what it could, by layer: of the method at hand, whose layers in view are marked, and of rivals. */
export interface ReachPlot {
  readonly lines: readonly { readonly method: string; readonly shares: readonly number[] }[];
  readonly layers: number;
  readonly shown: number;
  readonly own: PageData;
}

export function reachPlot(width: number, { lines: reached, layers, shown, own }: ReachPlot): string {
  const styleOf = lineStyles(
    reached.map(({ method }) => method),
    own,
  );
  const lines = reached.map(({ method, shares }): PlotLine => {
    const points = Array.from({ length: layers }, (_, at) => [at + 1, shares[at] ?? shares.at(-1)!] as const);
    const dots = method === own.name && { dots: 3 };
    return { name: own.names[method] ?? method, points, ...styleOf(method), ...dots };
  });
  return linePlot({
    label: 'Reach by layer',
    width,
    x: { ...counted(layers), label: 'layers' },
    y: SHARES,
    lines,
    picked: { points: lines.flatMap(({ points, dots }) => (dots ? points.filter(([layer]) => layer === shown) : [])) },
  });
}

const counted = (most: number): Axis => ({
  domain: [1, most],
  ticks: Array.from({ length: most }, (_, at) => at + 1),
  written: String,
});

export function withinPlot(width: number, { shares, alike }: WeightsWithin, own: PageData): string {
  const of = (values: Float64Array) => Array.from(values, (y, at) => [at + 1, y] as const);
  const domain = [1, shares.length] as const;
  return linePlot({
    label: 'Weight by distance',
    width,
    x: { domain, isLog: true, ticks: powerTicks(domain, 2), written: short, label: 'nearer than so many tokens' },
    y: SHARES,
    lines: [
      { name: 'all alike', points: of(alike), ...OF_BASELINE },
      { name: own.names[own.name], points: of(shares), ...OF_ITSELF },
    ],
  });
}

/** Each row of numbers as a line over its places. */
export function curvesPlot(width: number, { name, rows, columns, data }: Shown): string {
  const values = Array.from(data);
  const domain = [Math.min(0, ...values), Math.max(0, ...values)] as const;
  const across = [0, columns - 1] as const;
  const lines = Array.from(
    { length: rows },
    (_, row): PlotLine => ({
      points: Array.from({ length: columns }, (_, at) => [at, values[row * columns + at]] as const),
      ink: 'var(--family)',
      width: rows > 1 ? 1.5 : OWN,
      opacity: 1 - (0.8 * row) / rows,
    }),
  );
  return linePlot({
    label: name,
    width,
    x: { domain: across, ticks: roundTicks(across), written: String },
    y: { domain, ticks: roundTicks(domain), written: significant },
    lines,
  });
}
