/** Plots of lines as SVG, in pages and at build, with names at their ends. */
import { escaped } from './highlight';
import { spread } from './spread';

export interface Axis {
  readonly domain: readonly [least: number, most: number];
  readonly isLog?: boolean;
  readonly ticks: readonly number[];
  written(tick: number): string;
}

type Point = readonly [x: number, y: number];

export interface PlotLine {
  /** Stands at its end. */
  readonly name?: string;
  readonly points: readonly Point[];
  readonly ink: string;
  readonly width?: number;
  readonly dash?: string;
  readonly opacity?: number;
  /** The radius of dots on its points, and what each says under the pointer. */
  readonly dots?: number;
  readonly said?: readonly string[];
  /** Stands above its last point. */
  readonly tag?: string;
}

export interface LinePlot {
  /** In words, for screen readers. */
  readonly label: string;
  readonly width: number;
  readonly height?: number;
  readonly x: Axis & { readonly label?: string };
  readonly y: Axis;
  readonly lines: readonly PlotLine[];
  /** What the reader has picked: a place on the x-axis, and points. */
  readonly picked?: { readonly at?: number; readonly points?: readonly Point[] };
}

const [TOP, BOTTOM] = [12, 40];
const LINE_HEIGHT = 14;
/** Pixels of a letter, and letters of a line of a name. */
const [LETTER, BOLD] = [7.8, 8.8];
const LETTERS = 15;
const roomFor = (texts: readonly string[], letter = LETTER) =>
  10 + letter * Math.max(0, ...texts.map((text) => text.length));

const pixel = (at: number) => String(Math.round(10 * at) / 10);

const frame = (label: string, width: number, height: number, parts: readonly string[]) =>
  `<svg class="lines" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(label)}"><g fill="var(--quiet)">${parts.join('')}</g></svg>`;

const words = (text: string, x: number, y: number, rest = '') =>
  `<text x="${pixel(x)}" y="${pixel(y)}" ${rest}>${escaped(text)}</text>`;

const stroke = (path: string, ink: string, rest = '') => `<path d="${path}" fill="none" stroke="${ink}" ${rest}/>`;

const dot = ([x, y]: Point, radius: number, ink: string, { rest = '', said = '' } = {}) =>
  `<circle cx="${pixel(x)}" cy="${pixel(y)}" r="${radius}" fill="${ink}" ${rest}>${said && `<title>${escaped(said)}</title>`}</circle>`;

export function linePlot({ label, width, height: least = 228, x, y, lines, picked = {} }: LinePlot): string {
  // As high as the names of its lines need.
  const rows = lines.flatMap(({ name, points }) => (name && points.length > 0 ? broken(name) : []));
  const height = Math.max(least, BOTTOM + LINE_HEIGHT * rows.length);
  const left = roomFor(y.ticks.map(y.written));
  const rooms = lines.map(({ name, width }) => roomFor(name ? broken(name) : [], width === OWN ? BOLD : LETTER));
  const end = width - Math.max(24, ...rooms);
  const floor = height - BOTTOM;
  const across = (value: number) => left + shareOf(x, value) * (end - left);
  const down = (value: number) => floor - shareOf(y, value) * (floor - TOP);
  const place = ([x, y]: Point): Point => [across(x), down(y)];
  const grid = y.ticks.flatMap((tick) => [
    stroke(`M${left} ${pixel(down(tick))}H${pixel(end)}`, 'var(--rule)'),
    words(y.written(tick), left - 7, down(tick) + 4, 'text-anchor="end"'),
  ]);
  const feet = x.ticks.map((tick) => words(x.written(tick), across(tick), floor + 17, 'text-anchor="middle"'));
  const drawn = lines.flatMap(({ points, ink, width = 1.5, dash = '', opacity = 1, dots, said, tag }) => {
    const places = points.map(place);
    const line = `M${places.map((at) => at.map(pixel).join(' ')).join('L')}`;
    const path = stroke(line, ink, `stroke-width="${width}" stroke-dasharray="${dash}" opacity="${opacity}"`);
    if (places.length === 0) return [];
    const [x, y] = places.at(-1)!;
    return [
      path,
      ...(dots ? places.map((at, point) => dot(at, dots, ink, { said: said?.[point] })) : []),
      tag ? words(tag, x, y - 8, `text-anchor="middle" fill="${ink}"`) : '',
    ];
  });
  const hand = 'var(--hand)';
  return frame(label, width, height, [
    ...grid,
    ...feet,
    x.label ? words(`${x.label} →`, end, height - 5, 'text-anchor="end"') : '',
    picked.at === undefined ? '' : stroke(`M${pixel(across(picked.at))} ${TOP}V${floor}`, hand),
    ...drawn,
    ...(picked.points ?? []).map((at) => dot(place(at), 4.5, hand, { rest: 'stroke="var(--paper)"' })),
    ...names(lines, place, { end, floor }),
  ]);
}

/** The share of an axis at which a value lies. */
function shareOf({ domain: [least, most], isLog = false }: Axis, value: number): number {
  if (isLog) return Math.log(value / least) / Math.log(most / least) || 0;
  return (value - least) / (most - least || 1);
}

/** The names of lines at their ends, in as many lines as they need, moved apart. */
function names(
  lines: readonly PlotLine[],
  place: (point: Point) => Point,
  { end, floor }: { readonly end: number; readonly floor: number },
): string[] {
  const named = lines
    .filter(({ name, points }) => name && points.length > 0)
    .map((line) => ({ ...line, place: place(line.points.at(-1)!)[1], rows: broken(line.name!) }))
    .sort((a, b) => a.place - b.place);
  const places = spread(
    named.map(({ place }) => place),
    named.map(({ rows }) => LINE_HEIGHT * rows.length),
    floor + LINE_HEIGHT / 2,
  );
  return named.flatMap(({ rows, ink, width }, at) =>
    rows.map((row, line) =>
      words(
        row,
        end + 8,
        places[at] + 4 + LINE_HEIGHT * line,
        `fill="${ink}" ${width === OWN ? 'font-weight="700"' : ''}`,
      ),
    ),
  );
}

/** The width of the line that a plot is about. */
export const OWN = 2.6;

/** A name in lines that fit beside a plot. */
function broken(name: string): string[] {
  const lines = [''];
  for (const word of name.split(' ')) {
    if (lines.at(-1) !== '' && lines.at(-1)!.length + word.length >= LETTERS) lines.push('');
    lines[lines.length - 1] += `${lines.at(-1) === '' ? '' : ' '}${word}`;
  }
  return lines;
}

interface Bar {
  readonly value: number;
  readonly said: string;
  readonly ink: string;
}

/** What has no order, or one place only: bars for each place, and below what the inks are, if there are several. */
export function barPlot(
  label: string,
  width: number,
  places: readonly { readonly name: string; readonly bars: readonly Bar[] }[],
  inks: readonly (readonly [name: string, ink: string])[],
): string {
  const left = roomFor(places.map(({ name }) => name));
  const all = places.flatMap(({ bars }) => bars);
  const most = Math.max(...all.map(({ value }) => Math.abs(value))) || 1;
  const bar = (x: number, y: number, long: number, ink: string) =>
    `<rect x="${pixel(x)}" y="${y + 4}" width="${pixel(long)}" height="9" fill="${ink}"/>`;
  let y = 0;
  const rows = places.flatMap(({ name, bars }) => {
    const named = words(name, 0, y + 12);
    const drawn = bars.flatMap(({ value, said, ink }, at) => {
      const long = (Math.abs(value) / most) * (width - left - 50);
      const top = y + LINE_HEIGHT * at;
      return [bar(left, top, long, ink), words(said, left + long + 6, top + 12)];
    });
    y += LINE_HEIGHT * bars.length + 4;
    return [named, ...drawn];
  });
  const legend = inks.flatMap(([name, ink], at) => [
    bar(left, y + 4 + LINE_HEIGHT * at, 9, ink),
    words(name, left + 15, y + 16 + LINE_HEIGHT * at, `fill="${ink}"`),
  ]);
  return frame(label, width, y + 8 + LINE_HEIGHT * inks.length, [...rows, ...legend]);
}

/** About five round numbers on a linear axis. */
export function roundTicks([least, most]: Axis['domain']): number[] {
  const rough = (most - least) / 4 || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= 0.8 * rough)!;
  const from = Math.ceil(least / step - 1e-9);
  const count = Math.floor(most / step + 1e-9) - from + 1;
  return Array.from({ length: count }, (_, at) => Number(((from + at) * step).toPrecision(6)));
}

/** Up to five powers on a logarithmic axis; the middle if there is none. */
export function powerTicks([least, most]: Axis['domain'], base: number): number[] {
  const power = (value: number) => Math.log(value) / Math.log(base);
  const from = Math.ceil(power(least) - 1e-9);
  const count = Math.floor(power(most) + 1e-9) - from + 1;
  const step = Math.ceil(count / 5);
  if (count < 1) return [Math.sqrt(least * most)];
  return Array.from({ length: Math.ceil(count / step) }, (_, at) => base ** (from + at * step));
}
