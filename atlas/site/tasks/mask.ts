import { areaAt, queriesFrom } from '../../../src/masks/area';
import { reasons } from '../../../src/masks/combine';
import { keyWords, ones } from '../../../src/masks/key-words';
import { nextTurn } from '../../../src/next-turn';
import type { TaskControl } from '../answer';
import { LAYER_INKS, MOST_REACHED, TILE } from '../constants';
import { gridIn } from '../problem';
import { layersOfPairs, wayOf } from './layers';
import { keysByLayer, maskAt, type Setting } from './setting';

export interface MaskInWords {
  readonly name: string;
  readonly tokens: number;
  readonly heads: number;
  /** Pairs that the head sees. */
  readonly pairs: number;
}

export function maskInWords({ setting, head }: { readonly setting: Setting; readonly head: number }): MaskInWords {
  const { mask, place } = maskAt(setting, head);
  return { name: mask.name, tokens: place.n, heads: place.h, pairs: areaAt(mask, place) };
}

export interface TilePlace {
  readonly setting: Setting;
  readonly head: number;
  /** Cells are of 2^level x 2^level pairs. */
  readonly level: number;
  readonly row: number;
  readonly column: number;
  /** Through how many layers pairs are reached, fainter the more; else one, which has no limit of tokens. */
  readonly layers?: number;
  /** The part of the mask whose pairs stand out: they are 255, and no others. */
  readonly part?: string;
}

/** Milliseconds of counting between two pauses, in which other questions are answered. */
const TURN = 50;

/** The ink of each cell, from 0 to 255, row by row: the mean of its pairs. Cells beyond the ends have none. */
export async function maskTile(tile: TilePlace, control: TaskControl): Promise<Uint8Array> {
  const { setting, head, layers = 1, part } = tile;
  if (part !== undefined) {
    const { mask, place } = maskAt(setting, head);
    return meanInk(tile, place.n, (i, j) =>
      mask.sees(i, j, place) ? (reasons(mask, i, j, place).includes(part) ? 1 : 0.3) : 0,
    );
  }
  if (layers === 1) return seenTile(tile, control);
  const reached = layersOfPairs({ setting, head }, layers);
  const n = Math.sqrt(reached.length);
  return meanInk(tile, n, (i, j) => LAYER_INKS[reached[i * n + j]]);
}

/** Pair by pair, for tiles of few of them. */
function meanInk({ level, row, column }: TilePlace, n: number, inkOf: (i: number, j: number) => number): Uint8Array {
  const pairs = 2 ** level;
  const side = TILE * pairs;
  const [top, left] = [row * side, column * side];
  const [bottom, right] = [Math.min(n, top + side), Math.min(n, left + side)];
  const cells = new Float64Array(TILE * TILE);
  const areas = new Float64Array(TILE * TILE);
  for (let i = top; i < bottom; i++)
    for (let j = left; j < right; j++) {
      const cell = ((i - top) >> level) * TILE + ((j - left) >> level);
      cells[cell] += inkOf(i, j);
      areas[cell]++;
    }
  return Uint8Array.from(cells, (sum, cell) => (sum === 0 ? 0 : Math.max(1, Math.round((255 * sum) / areas[cell]))));
}

/** The share of the pairs of each cell that is seen, from 0 to 255, row by row. */
async function seenTile(
  { setting, head, level, row, column }: TilePlace,
  { signal, report }: TaskControl,
): Promise<Uint8Array> {
  const { mask, place } = maskAt(setting, head);
  const { n, m } = place;
  const pairs = 2 ** level;
  const [top, left] = [row * TILE * pairs, column * TILE * pairs];
  const [bottom, right] = [Math.min(n, top + TILE * pairs), Math.min(m, left + TILE * pairs)];
  const counts = new Float64Array(TILE * TILE);
  const rowsAtOnce = Math.min(32, pairs);
  let began = performance.now();
  for (let i = top; i < bottom; i += 32) {
    if (performance.now() > began + TURN) {
      report((i - top) / (bottom - top));
      await nextTurn();
      signal?.throwIfAborted();
      began = performance.now();
    }
    const { starts, words } = keyWords(mask, queriesFrom(i, Math.min(32, bottom - i)), place);
    for (let at = 0; at + 1 < starts.length; at++) {
      const [start, end, word] = [Math.max(left, starts[at]), Math.min(right, starts[at + 1]), words[at]];
      if (start >= end || word === 0) continue;
      for (let r = 0; r < 32; r += rowsAtOnce) {
        const seen = ones(rowsAtOnce === 32 ? word : (word >>> r) & (2 ** rowsAtOnce - 1));
        if (seen === 0) continue;
        const y = Math.floor((i + r - top) / pairs) * TILE;
        for (let x = Math.floor((start - left) / pairs); left + x * pairs < end; x++) {
          const from = left + x * pairs;
          counts[y + x] += seen * (Math.min(end, from + pairs) - Math.max(start, from));
        }
      }
    }
  }
  const share = (count: number, cell: number) => {
    const [y, x] = [Math.floor(cell / TILE), cell % TILE];
    const area = Math.min(pairs, n - top - y * pairs) * Math.min(pairs, m - left - x * pairs);
    return count === 0 ? 0 : Math.max(1, Math.round((255 * count) / area));
  };
  return Uint8Array.from(counts, share);
}

export interface PairInWords {
  readonly seen: boolean;
  /** How many keys the query sees. */
  readonly keys: number;
  readonly sentence: string;
  /** The tokens from the query to the key, in the fewest jumps; empty if it is never reached. */
  readonly way: readonly number[];
}

/** Layers in which a key is looked for. */
const MOST_JUMPS = 64;

/** Whether query i sees key j, and why, or in how many layers it reaches it. */
export function pairInWords({
  setting,
  head,
  i,
  j,
}: {
  readonly setting: Setting;
  readonly head: number;
  readonly i: number;
  readonly j: number;
}): PairInWords {
  const { mask, place } = maskAt(setting, head);
  const seen = mask.sees(i, j, place);
  const keys = keyWords(mask, [i], place).count();
  const way = place.n > MOST_REACHED ? [] : wayOf(keysByLayer(setting).keysOf, place.n, [i, j], MOST_JUMPS);
  return {
    seen,
    keys,
    way,
    sentence: `${seen ? 'seen' : 'not seen in one layer'}, ${distance(gridIn(setting.extents), i, j)}${because()}`,
  };

  /** The part of the mask that shows the key, or that hides it, or that nothing shows it. */
  function because(): string {
    const parts = reasons(mask, i, j, place);
    if (seen && parts[0] === mask.name) return '';
    if (seen) return `: ${parts.filter((part) => part !== 'causal' || parts.length === 1).join(', ')}`;
    if (parts.includes('causal')) return ': it comes later';
    if (way.length === 2) return '; another head sees it';
    const jumps = way.map((token) => token.toLocaleString('en')).join(' → ');
    return way.length > 0 ? `; reached in ${way.length - 1} jumps, ${jumps}` : '';
  }
}

/** From query i to key j, in a sequence or on a grid. */
export function distance(tokens: readonly number[], i: number, j: number): string {
  if (i === j) return 'its own place';
  if (tokens.length === 2) {
    const columns = tokens[1];
    const [down, across] = [Math.floor(i / columns) - Math.floor(j / columns), (i % columns) - (j % columns)];
    return `${Math.abs(down)} rows ${down < 0 ? 'below' : 'above'} and ${Math.abs(across)} columns ${across < 0 ? 'to the right' : 'to the left'}`;
  }
  return j < i ? `${i - j} before it` : `${j - i} after it`;
}
