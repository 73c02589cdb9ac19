/** Curves for the terminal. */
import { significant } from './format';

/** The bits of a character of braille, by column and row of its dots. */
const DOTS = [
  [0x01, 0x02, 0x04, 0x40],
  [0x08, 0x10, 0x20, 0x80],
] as const;

/** A plot of at least one finite value over so many characters and lines, with the largest and the smallest beside it. */
export function curveText(values: readonly number[], columns: number, lines: number): string {
  const dots = meansOf(values, 2 * columns);
  const [least, most] = [Math.min(...dots), Math.max(...dots)];
  const places = dots.map((value) => Math.round(((most - value) / (most - least || 1)) * (4 * lines - 1)));
  const grid = Array.from({ length: lines }, () => new Array<number>(columns).fill(0));
  places.forEach((place, at) => {
    const before = places[at - 1] ?? place;
    // Up to the dot before it, so that steep parts are lines too.
    for (let row = Math.min(place, before + 1); row <= Math.max(place, before - 1); row++) {
      const line = grid[Math.floor(row / 4)] as number[];
      line[at >> 1] = (line[at >> 1] as number) | (DOTS[at & 1] as (typeof DOTS)[0])[row & 3]!;
    }
  });
  const labels = [significant(most), significant(least)];
  const width = Math.max(...labels.map(({ length }) => length));
  return grid
    .map((line, at) => {
      const label = at === 0 ? labels[0] : at === lines - 1 ? labels[1] : '';
      return `${(label as string).padStart(width)} │${String.fromCodePoint(...line.map((bits) => 0x2800 + bits))}`;
    })
    .join('\n');
}

/** At most `count` values: means of as many runs of about equal length. */
export function meansOf(values: readonly number[], count: number): number[] {
  const runs = Math.min(count, values.length);
  return Array.from({ length: runs }, (_, at) => {
    const run = values.slice(Math.floor((at * values.length) / runs), Math.floor(((at + 1) * values.length) / runs));
    return run.reduce((sum, value) => sum + value, 0) / run.length;
  });
}
