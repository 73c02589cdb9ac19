/** Plots of a stored benchmark: speed by length, or time by the tiles that a mask visits. */
import type { BenchRow } from '../../src/bench/report';
import { formatLimit, formatRatio, formatTime, significant } from '../../src/text/format';
import { linePlot, OWN, powerTicks } from './line-plot';
import { lengthsOf, linesOf, panelOf } from './series';

const HEIGHT = 320;
/** Pixels between marks of an axis. */
const APART = 110;

/** The rates of rows that have some, as lines over the length; all panels have the axis of all rows. */
function speed(rows: readonly BenchRow[], width: number, panel: string): string {
  const all = ratedLines(rows);
  const lines = all.filter(([row]) => panelOf(row) === panel);
  const rates = all.flat().map(({ measures: { rate } }) => rate!);
  const domain = [Math.min(...rates) / 1.5, Math.max(...rates) * 1.5] as const;
  const lengths = lengthsOf(lines.flat());
  const hasRivals = lines.some(([{ label }]) => label.startsWith('Saccade'));
  const isOurs = (label: string) => !hasRivals || label.startsWith('Saccade');
  return linePlot({
    label: `Speed by length: ${panel}`,
    width,
    height: HEIGHT,
    x: {
      domain: [lengths[0], lengths.at(-1)!],
      isLog: true,
      ticks: lengths.filter((_, at) => at % Math.ceil((APART * lengths.length) / width) === 0),
      written: String,
      label: 'tokens',
    },
    y: { domain, isLog: true, ticks: powerTicks(domain, 10), written: (rate) => `${Number(rate.toPrecision(3))} GF/s` },
    lines: lines.map((line) => {
      const [{ label }] = line;
      return {
        name: label,
        points: line.map(({ n, measures: { rate } }) => [n, rate!] as const),
        said: line.map(
          ({ n, measures: { rate, time = 0 } }) =>
            `${label}\n${n} tokens: ${significant(rate!)} GF/s, ${formatTime(time)}`,
        ),
        dots: 2.5,
        ...(isOurs(label) ? { ink: 'var(--ink)', width: hasRivals ? OWN : 2 } : { ink: 'var(--quiet)', width: 1.3 }),
      };
    }),
  });
}

export const ratedLines = (rows: readonly BenchRow[]) =>
  linesOf(rows.filter(({ measures: { rate } }) => rate !== undefined));

/** How many names stand beside their dots: of those furthest from the line. */
const NAMED = 5;
/** As a ratio of places on the axis. */
const ROOM_FOR_NAME = 1.35;
const apart = (a: number, b: number) => Math.max(a / b, b / a);
const SHARES = [0.05, 0.1, 0.2, 0.5, 1];
const QUIET = { ink: 'var(--quiet)', dash: '2 2.5' };

function tiles(rows: readonly BenchRow[], width: number): string {
  // Where there are rivals, the ratio is to theirs.
  const rivals = new Set(rows.filter(({ how }) => how !== undefined).map(({ n }) => n));
  const dots = rows.flatMap(({ name, label, n, status, measures: { visited, ratio, time = 0 } }) =>
    status === 'ok' && !rivals.has(n) && visited && visited < 1 && ratio
      ? [{ name, label, n, visited, ratio, time }]
      : [],
  );
  const least = Math.min(...dots.flatMap(({ visited, ratio }) => [visited, ratio])) / 1.3;
  const axis = { domain: [least, 1], isLog: true, ticks: SHARES.filter((share) => share > least) } as const;
  const far: typeof dots = [];
  for (const dot of dots.toSorted((a, b) => apart(b.ratio, b.visited) - apart(a.ratio, a.visited)))
    if (far.length < NAMED && far.every(({ visited }) => apart(visited, dot.visited) > ROOM_FOR_NAME)) far.push(dot);
  return linePlot({
    label: 'Time by tiles visited',
    width: Math.min(width, 760),
    height: 400,
    x: { ...axis, written: formatLimit, label: 'tiles visited' },
    y: { ...axis, written: (ratio) => `${formatLimit(ratio)} of dense` },
    lines: [
      {
        points: [
          [least, least],
          [1, 1],
        ],
        ...QUIET,
      },
      ...dots.map((dot) => {
        const { name, label, n, visited, ratio, time } = dot;
        const said = `${name}: ${label}\n${n} tokens: ${formatTime(time)}, ${formatRatio(ratio)} of dense`;
        const tag = far.includes(dot) && { tag: name };
        return { points: [[visited, ratio] as const], said: [said], ink: 'var(--ink)', dots: 4, ...tag };
      }),
    ],
  });
}

export const PLOTS = { speed, tiles };
