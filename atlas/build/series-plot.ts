/** Small plots of what was measured for a claim, drawn at build: they need no script. */
import type { Series } from '../../src/experiments/experiment';
import { significant } from '../../src/text/format';
import { Html, html } from '../site/html';
import { type Axis, barPlot, linePlot, powerTicks, roundTicks } from '../site/line-plot';

const [WIDTH, HEIGHT] = [330, 176];
/** Values over a wider range lie on a logarithmic axis. */
const WIDE = 30;
/** Two lines have the family's ink and that of exact attention; more have inks that differ, whatever the family. */
const TWO = ['family', 'ink-exact'];
const MORE = ['ink-kernel', 'ink-fixed', 'ink-conv', 'ink-chosen', 'ink-linear', 'ink-exact', 'quiet'];
const inkOf = (at: number, { length }: Series['lines']) => `var(--${(length > 2 ? MORE : TWO)[at % MORE.length]})`;

const short = (value: number) => String(Number(value.toPrecision(3)));

/** Lines over places at even distances; bars where places have no order, or there is but one. */
export function seriesPlot(series: Series): Html {
  const { title, x, lines } = series;
  const said = `${title}: ${lines.map(({ label, values }) => `${label} ${values.map((value) => (value === null ? 'none' : significant(value))).join(', ')}`).join('; ')}`;
  const isOrdered = x.values.length > 1 && typeof x.values[0] === 'number';
  return html`<figure class="series"><figcaption>${title}</figcaption>${new Html(isOrdered ? overPlaces(series, said) : inBars(series, said))}</figure>`;
}

function overPlaces({ x, lines }: Series, said: string): string {
  const all = lines.flatMap(({ values }) => values.filter((value) => value !== null));
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const isLog = least > 0 && most / least > WIDE;
  const domain: Axis['domain'] = isLog ? [least / 1.2, most * 1.2] : [Math.min(0, least), most === 0 ? 1 : most * 1.05];
  const every = Math.ceil(x.values.length / 5);
  return linePlot({
    label: said,
    width: WIDTH,
    height: HEIGHT,
    x: {
      domain: [0, x.values.length - 1],
      ticks: x.values.flatMap((_, at) => (at % every === 0 ? [at] : [])),
      written: (at) => String(x.values[at]),
      label: x.label,
    },
    y: { domain, isLog, ticks: isLog ? powerTicks(domain, 10) : roundTicks(domain), written: short },
    lines: lines.map(({ label, values }, at) => ({
      name: label,
      points: values.flatMap((value, place) => (value === null ? [] : [[place, value] as const])),
      ink: inkOf(at, lines),
      width: 1.8,
      dots: 2,
    })),
  });
}

function inBars({ x, lines }: Series, said: string): string {
  const places = x.values.map((place, at) => ({
    name: String(place),
    bars: lines.flatMap(({ values }, line) => {
      const value = values[at] ?? null;
      return value === null ? [] : [{ value, said: significant(value), ink: inkOf(line, lines) }];
    }),
  }));
  const inks = lines.length > 1 ? lines.map(({ label }, at) => [label, inkOf(at, lines)] as const) : [];
  return barPlot(said, WIDTH, places, inks);
}
