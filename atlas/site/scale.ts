/** From weights to colours: one ink for those above 0, another for those below, and a mark for NaN. */
import { significant } from '../../src/text/format';
import { TILE } from './constants';
import { ink } from './page';

export type ScaleName = 'log' | 'linear' | 'row';

export interface Scale {
  /** From -1 to 1: how much ink a weight gets. */
  share(weight: number): number;
  /** Labels of the legend's ends, for no ink and for full ink, and its unit. */
  readonly ends: readonly [string, string];
  readonly unit?: string;
}

/** Decades below the largest beyond which a logarithmic scale tells no difference. */
const DECADES = 6;
/** Ink of what is just not 0. */
const LEAST = 0.07;

export function scaleOf(
  name: ScaleName,
  { largest, smallest }: { readonly largest: number; readonly smallest: number },
): Scale {
  if (name === 'row') return { share: (weight) => weight, ends: ['0', '1'], unit: 'of each query’s largest' };
  const most = largest || 1;
  if (name === 'linear') return { share: (weight) => weight / most, ends: ['0', significant(largest)] };
  const least = Math.max(smallest, most * 10 ** -DECADES);
  const range = Math.log(most / least) || 1;
  const share = (weight: number) =>
    Math.sign(weight) * Math.min(1, Math.max(1e-9, 1 - Math.log(most / Math.abs(weight)) / range));
  return {
    share: (weight) => (weight === 0 ? 0 : share(weight)),
    ends: [`${smallest < least ? '≤ ' : ''}${significant(least)}`, significant(largest)],
  };
}

/** The ink of shares from -1 to 1, packed as pixels are. */
export function inkOf(): (share: number) => number {
  const [above, below] = [ink('--family'), ink('--opposite')].map(
    ([red, green, blue]) => (blue << 16) | (green << 8) | red,
  );
  return (share) => {
    if (share === 0) return 0;
    const opacity = Math.round(255 * (LEAST + (1 - LEAST) * Math.abs(share)));
    return ((opacity << 24) | (share > 0 ? above : below)) >>> 0;
  };
}

/** Paints cells of weights; NaN is hatched. */
export function paintWeights(cells: ArrayLike<number>, { share }: Scale, pixels: Uint32Array): void {
  const inked = inkOf();
  const [red, green, blue] = ink('--ink');
  const mark = ((150 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  for (let cell = 0; cell < cells.length; cell++) {
    const weight = cells[cell];
    if (Number.isNaN(weight)) pixels[cell] = ((cell % TILE) + Math.floor(cell / TILE)) % 4 === 0 ? mark : 0;
    else pixels[cell] = inked(share(weight));
  }
}

/** Paints the ink of cells from 0 to 255. Where cells are of many pairs, few must still show: ink grows with the root. */
export function paintShares(
  cells: ArrayLike<number>,
  pixels: Uint32Array,
  property = '--family',
  isOfMany = false,
): void {
  const [red, green, blue] = ink(property);
  const inks = Uint32Array.from({ length: 256 }, (_, share) => {
    const opacity = share === 0 || !isOfMany ? share : Math.round(40 + 215 * Math.sqrt(share / 255));
    return ((opacity << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
  for (let cell = 0; cell < cells.length; cell++) pixels[cell] = inks[cells[cell]];
}
