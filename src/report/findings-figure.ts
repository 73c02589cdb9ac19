/** One picture of all series of an experiment, a panel each, which also works as a separate SVG file. */
import * as Plot from '@observablehq/plot';
import type { Series } from '../experiments/experiment';
import { significant } from '../text/format';

const COLUMNS = 2;
const PANEL = { width: 460, height: 270, gap: 16 };
const TITLE_LINE = 18;
const KEY_LINE = 16;
/** The width of a character of the key, in pixels. */
const CHARACTER = 6.2;
/** Degrees. */
const SLANT = 35;
const FONT = 'system-ui, sans-serif';
/** Fallbacks are for files outside our pages, where the variables are not defined. */
const [TEXT, LINE, BACKGROUND] = ['var(--text, #1d1f21)', 'var(--line, #dedbd4)', 'var(--background, #ffffff)'];
const COLOURS = ['#4269d0', '#e0850b', '#3ca951', '#ff725c', '#a463f2', '#97653b', '#6cc5b0', '#9498a0', '#ff8ab7'];

/** Ratio of the largest to the smallest value from which the upright axis is logarithmic. */
const WIDE = 50;
/** Ratio of the last to the first distance of neighbours from which the other one is. */
const STRETCHED = 3;
/** Characters of a title in a line. */
const TITLE_LENGTH = 58;

type Point = { readonly x: number | string; readonly y: number; readonly label: string };

export function findingsFigure(series: readonly Series[]): SVGSVGElement {
  const colours = new Map<string, string>();
  const panels = series.map((one) => panel(one, colours));
  const columns = Math.min(COLUMNS, panels.length);
  const rows = Array.from({ length: Math.ceil(panels.length / columns) }, (_, row) =>
    panels.slice(row * columns, (row + 1) * columns),
  );
  const width = columns * PANEL.width + (columns - 1) * PANEL.gap;
  const children: SVGElement[] = [];
  let y = 0;
  for (const row of rows) {
    row.forEach((one, column) => {
      one.setAttribute('x', String(column * (PANEL.width + PANEL.gap)));
      one.setAttribute('y', String(y));
      children.push(one);
    });
    y += Math.max(...row.map((one) => Number(one.getAttribute('height')))) + PANEL.gap;
  }
  const height = y - PANEL.gap;
  const background = svg('rect', { width, height, fill: BACKGROUND });
  const whole = { xmlns: 'http://www.w3.org/2000/svg', width, height, viewBox: `0 0 ${width} ${height}` };
  return svg('svg', { ...whole, style: 'max-width: 100%; height: auto' }, background, ...children);
}

/** A line keeps the colour of the first panel that has it; others get colours that are not yet in the panel. */
function addColours(labels: readonly string[], colours: Map<string, string>): void {
  const known = labels.map((label) => colours.get(label));
  const free = COLOURS.filter((colour) => !known.includes(colour));
  labels
    .filter((_, at) => known[at] === undefined)
    .forEach((label, at) => {
      colours.set(label, free[at % free.length] as string);
    });
}

/** Title, key and plot of one series. */
function panel({ title, x, lines }: Series, colours: Map<string, string>): SVGSVGElement {
  addColours(
    lines.map(({ label }) => label),
    colours,
  );
  const texts = title.match(new RegExp(`.{1,${TITLE_LENGTH}}(?:\\s|$)`, 'g')) ?? [title];
  const headings = texts.map((text, at) =>
    svg('text', { x: 8, y: 20 + at * TITLE_LINE, fill: TEXT, style: `font: 600 13px ${FONT}` }, text.trim()),
  );
  const under = 16 + texts.length * TITLE_LINE;
  const key = keyOf(
    lines.map(({ label }) => [label, colours.get(label) as string]),
    under,
  );
  const top = under + (lines.length > 1 ? key.height : 0);
  const names = x.values.some((value) => typeof value === 'string') && x.values.length > 3;
  // Names of many categories are slanted and need room.
  const longest = names ? Math.max(...x.values.map((value) => String(value).length)) : 0;
  const marginBottom = 42 + longest * CHARACTER * Math.sin((SLANT * Math.PI) / 180);
  const plotHeight = PANEL.height - 42 + marginBottom;
  const plot = svg(
    'svg',
    { y: top, width: PANEL.width, height: plotHeight },
    plotOf({ x, lines }, colours, { isSlanted: names, marginBottom, height: plotHeight }),
  );
  const height = top + plotHeight;
  return svg(
    'svg',
    { width: PANEL.width, height, viewBox: `0 0 ${PANEL.width} ${height}` },
    ...headings,
    ...(lines.length > 1 ? key.elements : []),
    plot,
  );
}

/** A dot and a name for each line, in rows as wide as the panel, from `top` on. */
function keyOf(
  lines: readonly (readonly [label: string, colour: string])[],
  top: number,
): { elements: SVGElement[]; height: number } {
  const elements: SVGElement[] = [];
  let [left, row] = [8, 0];
  for (const [label, colour] of lines) {
    const width = 26 + CHARACTER * label.length;
    if (left > 8 && left + width > PANEL.width) [left, row] = [8, row + 1];
    const y = top + row * KEY_LINE + 4;
    elements.push(
      svg('circle', { cx: left + 5, cy: y - 4, r: 4, fill: colour }),
      svg('text', { x: left + 14, y, fill: TEXT, style: `font: 11px ${FONT}` }, label),
    );
    left += width;
  }
  return { elements, height: (row + 1) * KEY_LINE };
}

interface Layout {
  readonly isSlanted: boolean;
  readonly marginBottom: number;
  readonly height: number;
}

function plotOf(
  { x, lines }: Pick<Series, 'x' | 'lines'>,
  colours: ReadonlyMap<string, string>,
  { isSlanted, marginBottom, height }: Layout,
): SVGSVGElement {
  const points = lines.flatMap(({ label, values }) =>
    values.flatMap((y, at): Point[] => (y === null ? [] : [{ x: x.values[at] as number | string, y, label }])),
  );
  const numeric = x.values.every((value) => typeof value === 'number');
  const [across, up] = [x.values.map(Number), points.map(({ y }) => y)];
  const [isLogAcross, isLogUp] = [numeric && isStretched(across), isWide(up)];
  const labels = lines.map(({ label }) => label);
  // Logarithmic scales leave out the names of some ticks, unless these are given as texts.
  const text = (value: number | string) => (typeof value === 'number' ? shortNumber(value) : value);
  const axisX = isSlanted ? { tickRotate: -SLANT, label: null } : { label: x.label, labelAnchor: 'center' as const };
  const options: Plot.PlotOptions = {
    width: PANEL.width,
    height,
    marginTop: 12,
    marginLeft: 62,
    marginRight: 20,
    marginBottom,
    style: { background: 'transparent', color: TEXT, fontFamily: FONT, fontSize: '11px', overflow: 'visible' },
    x: numeric
      ? { type: isLogAcross ? 'log' : 'linear', label: null }
      : { type: 'point', domain: x.values, padding: 0.5, label: null },
    y: { type: isLogUp ? 'log' : 'linear', zero: !isLogUp, nice: !isLogUp, label: null },
    color: { domain: labels, range: labels.map((label) => colours.get(label)) },
    marks: [
      Plot.gridY(isLogUp ? logTicks(up) : undefined, { ticks: 5 }),
      Plot.axisX(numeric ? ticksOf(across, isLogAcross) : x.values, { ...axisX, text, labelArrow: 'none' }),
      isLogUp
        ? Plot.axisY(logTicks(up), { text, label: null })
        : Plot.axisY({ ticks: 5, tickFormat: text, label: null }),
      Plot.frame({ stroke: LINE }),
      ...(numeric || labels.length > 1 ? [Plot.line(points, { x: 'x', y: 'y', z: 'label', stroke: 'label' })] : []),
      Plot.dot(points, { x: 'x', y: 'y', fill: 'label', r: 3 }),
    ],
  };
  return Plot.plot(options) as SVGSVGElement;
}

function isWide(values: readonly number[]): boolean {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low > 0 && high / low >= WIDE;
}

function isStretched(values: readonly number[]): boolean {
  const sorted = [...values].sort((a, b) => a - b);
  const [first, second] = sorted as [number, number];
  const [before, last] = sorted.slice(-2) as [number, number];
  return first > 0 && last - before >= STRETCHED * (second - first);
}

/** The values, without those whose labels would overlap. */
function ticksOf(values: readonly number[], isLog: boolean): number[] {
  const place = (value: number) => (isLog ? Math.log(value) : value);
  const [low, high] = [place(Math.min(...values)), place(Math.max(...values))];
  const kept: number[] = [];
  for (const value of [...values].sort((a, b) => a - b)) {
    const last = kept.at(-1);
    if (last === undefined || place(value) - place(last) >= 0.08 * (high - low)) kept.push(value);
  }
  return kept;
}

/** Powers of ten, and between them 2 and 5 where these are few. */
function logTicks(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values) / 1.5, Math.max(...values) * 1.5];
  const inside = (digits: readonly number[]) =>
    Array.from({ length: 41 }, (_, at) => at - 15)
      .flatMap((power) => digits.map((digit) => Number(`${digit}e${power}`)))
      .filter((tick) => tick >= low && tick <= high);
  const powers = inside([1]);
  const step = Math.ceil(powers.length / 8);
  return powers.length < 4 ? inside([1, 2, 5]) : powers.filter((_, at) => at % step === 0);
}

/** Such as 0.05, 131072 or 1e+20. */
function shortNumber(value: number): string {
  if (Math.abs(value) >= 1e6) return value.toExponential(0);
  return Number.isInteger(value) ? String(value) : String(Number(significant(value)));
}

function svg<Tag extends keyof SVGElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string | number>>,
  ...children: readonly (Node | string)[]
): SVGElementTagNameMap[Tag] {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}
