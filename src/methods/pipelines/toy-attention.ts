/** How much an answer attends to the tokens of a picture, for pages: an object, a smaller one, haze, and a bright sink. */
import { normal } from '../../tensor/random';
import type { Extents } from '../page';

/** Centres and radii as shares of the sides, and how bright they are. */
const OBJECTS = [
  [0.62, 0.4, 0.2, 1],
  [0.5, 0.62, 0.1, 0.6],
] as const;

/** [b, rows, columns], from 0 up; without haze what lies outside the objects is 0. */
export function attentionOnRegions({ b = 1, rows = 1, columns = 1 }: Extents, hasHaze: boolean): Float32Array {
  const haze = normal(b * rows * columns, 3);
  return Float32Array.from({ length: b * rows * columns }, (_, at) => {
    const place = at % (rows * columns);
    const [y, x] = [(Math.floor(place / columns) + 0.5) / rows, ((place % columns) + 0.5) / columns];
    const bright = OBJECTS.map(([cx, cy, r, peak]) => {
      const square = ((x - cx) ** 2 + (y - cy) ** 2) / r ** 2;
      return square < 1 ? peak * (1 - 0.7 * square) : 0;
    });
    return Math.max(...bright) + (hasHaze ? 0.04 * Math.abs(haze[at] as number) : 0);
  });
}
