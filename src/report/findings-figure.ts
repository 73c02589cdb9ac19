/** One picture of all series of an experiment, a panel each: it stands alone as an SVG file too. */
import * as Plot from '@observablehq/plot';
import type { Series } from '../methods/experiment';
import { significant } from './format';

const COLUMNS = 2;
const PANEL = { width: 460, height: 270, gap: 16 };
const TITLE = 34;
const KEY_LINE = 16;
/** Of a character of the key, in pixels. */
const CHARACTER = 6.2;
const FONT = 'system-ui, sans-serif';
/** Outside a page of ours there are no variables. */
const [TEXT, LINE, BACKGROUND] = ['var(--text, #1d1f21)', 'var(--line, #dedbd4)', 'var(--background, #ffffff)'];
const COLOURS = ['#4269d0', '#e0850b', '#3ca951', '#ff725c', '#a463f2', '#97653b', '#6cc5b0', '#9498a0'];

/** Ratio of the largest to the smallest value from which an axis is logarithmic. */
const WIDE = 20;

type Point = { readonly x: number | string; readonly y: number; readonly label: string };

export function findingsFigure(series: readonly Series[]): SVGSVGElement {
  const panels = series.map(panel);
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

/** Title, key and plot of one series. */
function panel({ title, x, lines }: Series): SVGSVGElement {
  const key = keyOf(lines.map(({ label }) => label));
  const top = TITLE + (lines.length > 1 ? key.height : 0);
  const heading = svg('text', { x: 8, y: 20, fill: TEXT, style: `font: 600 13px ${FONT}` }, title);
  const plot = svg('svg', { y: top, width: PANEL.width, height: PANEL.height }, plotOf({ title, x, lines }));
  const height = top + PANEL.height;
  return svg(
    'svg',
    { width: PANEL.width, height, viewBox: `0 0 ${PANEL.width} ${height}` },
    heading,
    ...(lines.length > 1 ? key.elements : []),
    plot,
  );
}

/** A dot and a name for each line, in rows as wide as the panel. */
function keyOf(labels: readonly string[]): { elements: SVGElement[]; height: number } {
  const elements: SVGElement[] = [];
  let [left, row] = [8, 0];
  for (const [at, label] of labels.entries()) {
    const width = 26 + CHARACTER * label.length;
    if (left > 8 && left + width > PANEL.width) [left, row] = [8, row + 1];
    const y = TITLE + row * KEY_LINE + 4;
    elements.push(
      svg('circle', { cx: left + 5, cy: y - 4, r: 4, fill: colourOf(at) }),
      svg('text', { x: left + 14, y, fill: TEXT, style: `font: 11px ${FONT}` }, label),
    );
    left += width;
  }
  return { elements, height: (row + 1) * KEY_LINE };
}

const colourOf = (at: number): string => COLOURS[at % COLOURS.length] as string;

function plotOf({ x, lines }: Series): SVGSVGElement {
  const points = lines.flatMap(({ label, values }) =>
    values.flatMap((y, at): Point[] => (y === null ? [] : [{ x: x.values[at] as number | string, y, label }])),
  );
  const numeric = x.values.every((value) => typeof value === 'number');
  const long = !numeric && x.values.length > 3;
  const isLog = isWide(points.map(({ y }) => y));
  const labels = lines.map(({ label }) => label);
  const options: Plot.PlotOptions = {
    width: PANEL.width,
    height: PANEL.height,
    marginTop: 12,
    marginLeft: 62,
    marginRight: 20,
    marginBottom: long ? 96 : 42,
    style: { background: 'transparent', color: TEXT, fontFamily: FONT, fontSize: '11px', overflow: 'visible' },
    x: {
      ...(numeric
        ? {
            type: isWide(x.values as number[]) ? ('log' as const) : ('linear' as const),
            ticks: ticksOf(x.values as number[]),
          }
        : { type: 'point' as const, domain: x.values, padding: 0.5 }),
      ...(long
        ? { tickRotate: -35, label: null }
        : { label: x.label, labelAnchor: 'center' as const, labelArrow: 'none' }),
      tickFormat: (value: number | string) => (typeof value === 'number' ? shortNumber(value) : value),
    },
    y: {
      type: isLog ? 'log' : 'linear',
      ...(isLog ? {} : { zero: true }),
      nice: true,
      ticks: 5,
      label: null,
      tickFormat: shortNumber,
      grid: true,
    },
    color: { domain: labels, range: labels.map((_, at) => colourOf(at)) },
    marks: [
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

/** The values themselves, where not so many that their names would meet. */
function ticksOf(values: readonly number[]): number[] {
  const step = Math.ceil(values.length / 9);
  return values.filter((_, at) => at % step === 0);
}

/** Such as 0.05, 2048, 131k or 1e+20. */
function shortNumber(value: number): string {
  if (Math.abs(value) >= 1e6) return value.toExponential(0);
  if (Math.abs(value) >= 10_000) return `${Number((value / 1000).toPrecision(3))}k`;
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
