/** Which elements of an axis each result of another extent is made of. */
import type { Taps } from './along';

export type ResizeMode = 'nearest' | 'bilinear' | 'bicubic' | 'area';

interface How {
  readonly mode: ResizeMode;
  readonly alignCorners: boolean;
  readonly antialias: boolean;
}

/** From an extent to another. */
export function resizeTaps(from: number, to: number, { mode, alignCorners, antialias }: How): Taps {
  const each = (make: (result: number) => Taps[number]): Taps => Array.from({ length: to }, (_, at) => make(at));
  if (mode === 'nearest') return each((at) => [[Math.floor((at * from) / to), 1]]);
  if (mode === 'area') return areaTaps(from, to);
  if (antialias) return each((at) => filtered(at, from, to, mode === 'bilinear' ? triangle : cubic(-0.5)));
  const centre = (at: number) => {
    if (!alignCorners) return ((at + 0.5) * from) / to - 0.5;
    return to > 1 ? (at * (from - 1)) / (to - 1) : 0;
  };
  const clamp = (place: number) => Math.min(Math.max(place, 0), from - 1);
  if (mode === 'bilinear')
    return each((at) => {
      const place = Math.max(centre(at), 0);
      const first = Math.min(Math.floor(place), from - 1);
      return [
        [first, 1 - (place - first)],
        [clamp(first + 1), place - first],
      ];
    });
  const weight = cubic(-0.75);
  return each((at) => {
    const first = Math.floor(centre(at));
    return [-1, 0, 1, 2].map((step) => [clamp(first + step), weight(centre(at) - first - step)] as const);
  });
}

/** The mean of the elements that a result covers. */
const areaTaps = (from: number, to: number): Taps =>
  windowsOf(from, to).map((window) => window.map((place) => [place, 1 / window.length] as const));

/** The elements that each of `to` results covers. */
export const windowsOf = (from: number, to: number): readonly (readonly number[])[] =>
  Array.from({ length: to }, (_, at) => {
    const first = Math.floor((at * from) / to);
    return Array.from({ length: Math.ceil(((at + 1) * from) / to) - first }, (_, i) => first + i);
  });

interface Filter {
  (x: number): number;
  /** Where it ends, to both sides. */
  readonly reach: number;
}

const triangle: Filter = Object.assign((x: number) => Math.max(0, 1 - Math.abs(x)), { reach: 1 });

/** Cubic convolution. */
const cubic = (a: number): Filter =>
  Object.assign(
    (given: number) => {
      const x = Math.abs(given);
      if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
    },
    { reach: 2 },
  );

/** Elements under a filter that is as wide as a result, if that is wider than an element. */
function filtered(at: number, from: number, to: number, filter: Filter): Taps[number] {
  const scale = Math.max(from / to, 1);
  const centre = ((at + 0.5) * from) / to;
  const first = Math.max(Math.trunc(centre - filter.reach * scale + 0.5), 0);
  const past = Math.min(Math.trunc(centre + filter.reach * scale + 0.5), from);
  const places = Array.from({ length: past - first }, (_, i) => first + i);
  const weights = places.map((place) => filter((place - centre + 0.5) / scale));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return places.map((place, i) => [place, (weights[i] as number) / sum] as const);
}
