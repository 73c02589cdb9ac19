/** What a stored benchmark shows at a glance: speed by length, or time by the tiles that a mask visits. */
import { axisX, axisY, dot, frame, gridX, gridY, line, pointer, text, tip } from '@observablehq/plot';
import type { BenchRow } from '../../src/bench/report';
import { formatLimit, formatRatio, formatTime, significant } from '../../src/text/format';
import { named, STYLE, spread } from './plots';

interface BenchPlot {
  readonly title: string;
  readonly said: string;
  picture(rows: readonly BenchRow[], width: number): SVGSVGElement;
}

const isOurs = (label: string) => label.startsWith('Saccade');
const ROOM_FOR_LABELS = 150;
const NARROW = 800;
const HEIGHT = 320;
const POWERS = [0.01, 0.1, 1, 10, 100, 1000];
/** Of labels over lines. */
const HALO = { stroke: 'var(--paper)', strokeWidth: 4 };

const speed: BenchPlot = {
  title: 'Speed by length',
  said: 'Useful operations a nanosecond (GF/s): only the pairs that the mask lets through count, so that more is faster whatever the mask. Both axes are logarithmic.',
  picture(rows, width) {
    const points = rows.flatMap(({ label, mask, d, n, measures: { rate, time = 0 } }) =>
      rate === undefined ? [] : [{ label, panel: `${mask}, d = ${d}`, n, value: rate, time }],
    );
    const panels = [...new Set(points.map(({ panel }) => panel))];
    const lengths = [...new Set(points.map(({ n }) => n))].sort((a, b) => a - b);
    const rates = points.map(({ value }) => value);
    const domain = [Math.min(...rates) / 1.5, Math.max(...rates) * 3] as const;
    const ticks = POWERS.filter((power) => power > domain[0] && power < domain[1]);
    const side = width < NARROW ? 'fy' : 'fx';
    const place = { x: 'n', y: 'value', [side]: 'panel' };
    // A line of text, as a factor on the logarithmic axis.
    const apart = (domain[1] / domain[0]) ** (15 / (HEIGHT - 60));
    const ends = panels.flatMap((panel) => {
      const here = points.filter((point) => point.panel === panel);
      const lines = Map.groupBy(here, ({ label }) => label);
      return spread(
        [...lines.values()].map((of) => of.reduce((last, point) => (point.n > last.n ? point : last))),
        apart,
      );
    });
    return named('Speed by length', {
      width,
      height: side === 'fx' ? HEIGHT : 40 + 280 * panels.length,
      marginLeft: 44,
      marginRight: 8,
      marginBottom: 42,
      style: STYLE,
      x: { type: 'log', base: 2, domain: [lengths[0], lengths.at(-1)!], insetLeft: 12, insetRight: ROOM_FOR_LABELS },
      y: { type: 'log', domain },
      [side]: { label: null, domain: panels },
      marks: [
        frame({ stroke: 'var(--rule)' }),
        axisX({ ticks: lengths, tickFormat: String, label: 'tokens', labelOffset: 38, tickSize: 4 }),
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
              ...{ ...place, text: 'label', dx: 8, textAnchor: 'start' },
              ...HALO,
              ...(ours ? { fill: 'var(--ink)', fontWeight: 700 } : { fill: 'var(--quiet)' }),
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
