/** Plots of a stored benchmark: speed by length, or time by the tiles that a mask visits. */
import {
  axisX,
  axisY,
  dot,
  frame,
  gridX,
  gridY,
  line,
  type PlotOptions,
  plot,
  pointer,
  text,
  tip,
} from '@observablehq/plot';
import type { BenchRow } from '../../src/bench/report';
import { formatLimit, formatRatio, formatTime, significant } from '../../src/text/format';
import { lengthsOf, linesOf, panelOf } from './series';
import { spread } from './spread';

interface BenchPlot {
  readonly title: string;
  readonly said: string;
  picture(rows: readonly BenchRow[], width: number): SVGSVGElement;
}

const STYLE = { background: 'none', overflow: 'visible', fontFamily: 'inherit', fontSize: '12.5px' };

/** A plot is one picture to a screen reader; what it says stands below it. */
function named(label: string, options: PlotOptions): SVGSVGElement {
  const svg = plot(options) as SVGSVGElement;
  for (const part of svg.querySelectorAll('[aria-label]')) part.removeAttribute('aria-label');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  return svg;
}

const NARROW = 800;
const HEIGHT = 320;
/** Pixels of a letter, and how many marks of an axis a panel has room for. */
const LETTER = 7;
const ROOM_FOR_MARK = 42;
const RATES = [-2, -1, 0, 1, 2, 3].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));
/** Rates over a wider range than this have ticks at powers of ten only. */
const WIDE_RANGE = 50;
/** The outline of labels over lines. */
const HALO = { stroke: 'var(--paper)', strokeWidth: 4 };

const speed: BenchPlot = {
  title: 'Speed by length',
  said: 'Useful operations a nanosecond (GF/s): only the pairs that the mask lets through count, so that more is faster whatever the mask. Both axes are logarithmic.',
  picture(rows, width) {
    const lines = linesOf(rows.filter(({ measures: { rate } }) => rate !== undefined)).map((line) =>
      line.map((row) => {
        const { label, n, measures } = row;
        return { label, panel: panelOf(row), n, value: measures.rate!, time: measures.time ?? 0 };
      }),
    );
    const points = lines.flat();
    const hasRivals = points.some(({ label }) => label.startsWith('Saccade'));
    const isOurs = (label: string) => !hasRivals || label.startsWith('Saccade');
    const panels = [...new Set(points.map(({ panel }) => panel))];
    const lengths = lengthsOf(rows.filter(({ n }) => points.some((point) => point.n === n)));
    const rates = points.map(({ value }) => value);
    const domain = [Math.min(...rates) / 1.5, Math.max(...rates) * 1.5] as const;
    const isWide = domain[1] / domain[0] > WIDE_RANGE;
    const ticks = RATES.filter(
      (rate) => rate > domain[0] && rate < domain[1] && (!isWide || Number.isInteger(Math.log10(rate))),
    );
    const side = width < NARROW ? 'fy' : 'fx';
    const panelWidth = (side === 'fx' ? width / panels.length : width) - 60;
    const roomForLabels = Math.min(
      0.66 * panelWidth,
      24 + LETTER * Math.max(...points.map(({ label }) => label.length)),
    );
    const every = Math.ceil(lengths.length / Math.floor((panelWidth - roomForLabels) / ROOM_FOR_MARK));
    const place = { x: 'n', y: 'value', [side]: 'panel' };
    const [high, range, height] = [Math.log(domain[1]), Math.log(domain[1] / domain[0]), HEIGHT - 76];
    const ends = panels.flatMap((panel) => {
      const sorted = lines
        .map((line) => line.at(-1)!)
        .filter((end) => end.panel === panel)
        .sort((a, b) => b.value - a.value);
      const places = spread(
        sorted.map(({ value }) => ((high - Math.log(value)) / range) * height),
        sorted.map(() => 15),
        height + 15,
      );
      return sorted.map((end, at) => ({ ...end, value: Math.exp(high - (places[at] / height) * range) }));
    });
    return named('Speed by length', {
      width,
      height: side === 'fx' ? HEIGHT : 76 + (HEIGHT - 76) * panels.length,
      marginLeft: 44,
      marginRight: 8,
      marginTop: 34,
      marginBottom: 42,
      style: STYLE,
      x: { type: 'log', base: 2, domain: [lengths[0], lengths.at(-1)!], insetLeft: 12, insetRight: roomForLabels },
      y: { type: 'log', domain },
      [side]: { axis: null, domain: panels },
      marks: [
        frame({ stroke: 'var(--rule)' }),
        text(panels, {
          [side]: (panel: string) => panel,
          text: (panel) => panel,
          frameAnchor: 'top-left',
          dx: 8,
          dy: -16,
        }),
        axisX({
          ticks: lengths.filter((_, at) => at % every === 0),
          tickFormat: String,
          label: 'tokens',
          labelOffset: 38,
          tickSize: 4,
        }),
        axisY({ ticks, tickFormat: String, label: 'GF/s', tickSize: 0 }),
        gridY(ticks),
        line(points, {
          ...place,
          z: 'label',
          stroke: ({ label }) => (isOurs(label) ? 'var(--ink)' : 'var(--quiet)'),
          strokeWidth: ({ label }) => (isOurs(label) ? 2.6 : 1.3),
        }),
        dot(points, { ...place, r: 2.5, fill: ({ label }) => (isOurs(label) ? 'var(--ink)' : 'var(--quiet)') }),
        ...[true, false].map((ours) =>
          text(
            ends.filter(({ label }) => isOurs(label) === ours),
            {
              ...place,
              text: 'label',
              dx: 8,
              textAnchor: 'start',
              ...HALO,
              ...(ours ? { fill: 'var(--ink)', fontWeight: hasRivals ? 700 : 400 } : { fill: 'var(--quiet)' }),
            },
          ),
        ),
        tip(
          points,
          pointer({
            ...place,
            title: ({ label, n, value, time }) =>
              `${label}\n${n} tokens: ${significant(value)} GF/s, ${formatTime(time)}`,
            fill: 'var(--sheet)',
          }),
        ),
      ],
    });
  },
};

/** How many names stand beside their dots: of those furthest from the line. */
const NAMED = 5;
/** As a ratio of places on the axis. */
const ROOM_FOR_NAME = 1.35;
const apart = (a: number, b: number) => Math.max(a / b, b / a);
/** How far from the line, on either side. */
const excess = ({ visited, ratio }: { visited: number; ratio: number }) => apart(ratio, visited);
const SHARES = [0.05, 0.1, 0.2, 0.5, 1];

const tiles: BenchPlot = {
  title: 'Time by tiles visited',
  said: 'On the dashed line time goes with the tiles that a mask visits; above it tiles cost more than those of dense attention. Both axes are logarithmic.',
  picture(rows, width) {
    // Where there are rivals, the ratio is to theirs.
    const rivals = new Set(rows.filter(({ how }) => how !== undefined).map(({ n }) => n));
    const points = rows.flatMap(({ name, label, n, status, measures: { visited, ratio, time = 0 } }) =>
      status === 'ok' && !rivals.has(n) && visited && visited < 1 && ratio
        ? [{ name, label, n, visited, ratio, time }]
        : [],
    );
    const least = Math.min(...points.flatMap(({ visited, ratio }) => [visited, ratio])) / 1.3;
    const ticks = SHARES.filter((share) => share > least);
    const far: typeof points = [];
    for (const point of points.toSorted((a, b) => excess(b) - excess(a)))
      if (far.length < NAMED && far.every(({ visited }) => apart(visited, point.visited) > ROOM_FOR_NAME))
        far.push(point);
    const place = { x: 'visited', y: 'ratio' };
    return named('Time by tiles visited', {
      width: Math.min(width, 760),
      height: 400,
      marginLeft: 62,
      marginRight: 16,
      marginBottom: 42,
      style: STYLE,
      x: { type: 'log', domain: [least, 1] },
      y: { type: 'log', domain: [least, 1] },
      marks: [
        axisX({ ticks, tickFormat: formatLimit, label: 'tiles visited', labelOffset: 38, tickSize: 4 }),
        axisY({ ticks, tickFormat: formatLimit, label: 'time of dense', tickSize: 0 }),
        gridX(ticks),
        gridY(ticks),
        line(
          [
            [least, least],
            [1, 1],
          ],
          { stroke: 'var(--quiet)', strokeDasharray: '2 2.5' },
        ),
        dot(points, { ...place, r: 4, fill: 'var(--ink)' }),
        text(far, { ...place, text: 'name', dy: -11, fill: 'var(--ink)', ...HALO }),
        tip(
          points,
          pointer({
            ...place,
            title: ({ name, label, n, ratio, time }) =>
              `${name}: ${label}\n${n} tokens: ${formatTime(time)}, ${formatRatio(ratio)} of dense`,
            fill: 'var(--sheet)',
          }),
        ),
      ],
    });
  },
};

export const PLOTS = { speed, tiles };
