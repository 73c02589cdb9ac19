/**
 * Tokens of a grid in an order in which a neighborhood mask needs few tiles: spatial tiles, one after the other, of
 * the queries and, of another shape, of the keys. Dilation groups, which do not see each other, follow one another.
 * Source: token permutation and multi-dimensional tiling, Hassani et al. 2025, arXiv 2504.16922.
 */
import { KeyWords } from './key-words';
import type { Arrangement } from './mask';
import { groupLength, groupWindow, type NeighborhoodAxis } from './neighborhood-axis';

export type Three<Value> = readonly [outer: Value, middle: Value, inner: Value];

/** Extents of the tiles of queries and of keys along each axis of a grid. */
export interface TileShapes<Shape extends readonly number[] = readonly number[]> {
  readonly queries: Shape;
  readonly keys: Shape;
  /** Slots without a token before the first key of each axis, so that windows start where tiles do; default: none. */
  readonly padding?: Shape;
}

/**
 * Slots without a token fill the tiles up at the end of an axis, and before its first key if there is padding. Tiles of
 * queries follow near ones, which see the same keys; tiles of keys are in row-major order, as are the tokens of all.
 */
export function arrangeGrid(axes: Three<NeighborhoodAxis>, tiles: TileShapes<Three<number>>): Arrangement {
  const groups = groupsOf(axes);
  const { padding = [0, 0, 0] } = tiles;
  const queries = tileSlots(axes, groups, tiles.queries, [0, 0, 0], (counts, visit) =>
    eachNear([0, 0, 0], counts, axes, tiles.queries, visit),
  );
  const keys = tileSlots(axes, groups, tiles.keys, padding, eachCell);
  return {
    queries: queries.tokens,
    keys: keys.tokens,
    words(first, count) {
      const result = new KeyWords();
      for (const [at, tokens] of byGroup(axes, queries.tokens.subarray(first, first + count))) {
        const group = groups[at] as Three<number>;
        const seen = axes.map((axis, a) =>
          wordsOnAxis(axis, group[a]!, tokens[a]!, tiles.keys[a]!, padding[a]!),
        ) as unknown as Three<AxisWords>;
        const counts = tileCounts(axes, group, tiles.keys, padding);
        pushKeyTiles(result, seen, counts, tiles.keys, keys.firsts[at] as number);
      }
      return result;
    },
  };
}

/** The coordinates modulo the dilations of each dilation group. */
function groupsOf(axes: Three<NeighborhoodAxis>): Three<number>[] {
  const groups: Three<number>[] = [];
  eachCell(axes.map(({ dilation }) => dilation) as unknown as Three<number>, (...group) => groups.push(group));
  return groups;
}

/** The token in each slot, -1 for none, and the first slot of each group; `eachTile` visits a group's tiles in order. */
function tileSlots(
  axes: Three<NeighborhoodAxis>,
  groups: readonly Three<number>[],
  tile: Three<number>,
  padding: Three<number>,
  eachTile: typeof eachCell,
) {
  const counts = groups.map((group) => tileCounts(axes, group, tile, padding));
  const volume = product(tile);
  const firsts = [0];
  for (const [at, count] of counts.entries()) firsts.push((firsts[at] as number) + product(count) * volume);
  const tokens = new Int32Array(firsts.pop() as number).fill(-1);
  const [outer, middle, inner] = axes;
  let slot = 0;
  groups.forEach((group, at) => {
    eachTile(counts[at] as Three<number>, (...corner) => {
      eachCell(tile, (...within) => {
        const [x, y, z] = axes.map(
          ({ dilation }, a) => (corner[a]! * tile[a]! + within[a]! - padding[a]!) * dilation + group[a]!,
        ) as unknown as Three<number>;
        if (isWithin(outer, x) && isWithin(middle, y) && isWithin(inner, z)) {
          tokens[slot] = (x * middle.length + y) * inner.length + z;
        }
        slot++;
      });
    });
  });
  return { tokens, firsts };
}

function isWithin({ length }: NeighborhoodAxis, coordinate: number): boolean {
  return coordinate >= 0 && coordinate < length;
}

function tileCounts(
  axes: Three<NeighborhoodAxis>,
  group: Three<number>,
  tile: Three<number>,
  padding: Three<number>,
): Three<number> {
  return axes.map((axis, a) =>
    Math.ceil((groupLength(axis, group[a]!) + padding[a]!) / tile[a]!),
  ) as unknown as Three<number>;
}

/** The indices along each axis, in their group, of the queries of each group; -1 for those of other groups and none. */
function byGroup(axes: Three<NeighborhoodAxis>, tokens: Int32Array): Map<number, Three<Int32Array>> {
  const groups = new Map<number, Three<Int32Array>>();
  tokens.forEach((token, r) => {
    if (token === -1) return;
    const coordinates = coordinatesOf(axes, token);
    const at = axes.reduce((group, { dilation }, a) => group * dilation + (coordinates[a]! % dilation), 0);
    const indices = groups.get(at) ?? none(tokens.length);
    axes.forEach(({ dilation }, a) => {
      indices[a]![r] = Math.floor(coordinates[a]! / dilation);
    });
    groups.set(at, indices);
  });
  return groups;
}

function none(count: number): Three<Int32Array> {
  const absent = () => new Int32Array(count).fill(-1);
  return [absent(), absent(), absent()];
}

function coordinatesOf([, middle, inner]: Three<NeighborhoodAxis>, token: number): Three<number> {
  const line = Math.floor(token / inner.length);
  return [Math.floor(line / middle.length), line % middle.length, token % inner.length];
}

/** Which queries see each key slot from `first` on, along one axis. */
interface AxisWords {
  readonly first: number;
  readonly words: Int32Array;
}

/** From the first key that a query sees to the last, in whole tiles. */
function wordsOnAxis(
  axis: NeighborhoodAxis,
  group: number,
  queries: Int32Array,
  tile: number,
  padding: number,
): AxisWords {
  const length = groupLength(axis, group);
  const windows = Array.from(queries, (index) => {
    if (index === -1) return undefined;
    const [start, end] = groupWindow(axis, index, length);
    return [start + padding, end + padding] as const;
  });
  const [least, past] = windows.reduce<[number, number]>(
    ([low, high], window) => (window ? [Math.min(low, window[0]), Math.max(high, window[1])] : [low, high]),
    [Number.POSITIVE_INFINITY, 0],
  );
  const first = Math.floor(least / tile) * tile;
  const words = new Int32Array(Math.ceil(past / tile) * tile - first + 1);
  windows.forEach((window, r) => {
    if (!window) return;
    words[window[0] - first]! ^= 1 << r;
    words[window[1] - first]! ^= 1 << r;
  });
  // A bit that changes at a key stays so for the keys behind it.
  for (let at = 1; at < words.length; at++) words[at]! ^= words[at - 1]!;
  return { first, words: words.subarray(0, -1) };
}

/** The words of a group's key slots, of which `firstSlot` is the first: a key is seen where it is on every axis. */
function pushKeyTiles(
  result: KeyWords,
  [outer, middle, inner]: Three<AxisWords>,
  [, middleTiles, innerTiles]: Three<number>,
  tile: Three<number>,
  firstSlot: number,
): void {
  const [tileX, tileY, tileZ] = tile;
  const volume = product(tile);
  for (let x0 = 0; x0 < outer.words.length; x0 += tileX) {
    for (let y0 = 0; y0 < middle.words.length; y0 += tileY) {
      const line = ((outer.first + x0) / tileX) * middleTiles + (middle.first + y0) / tileY;
      let slot = firstSlot + (line * innerTiles + inner.first / tileZ) * volume;
      for (let z0 = 0; z0 < inner.words.length; z0 += tileZ) {
        for (let x = x0; x < x0 + tileX; x++) {
          for (let y = y0; y < y0 + tileY; y++) {
            const word = outer.words[x]! & middle.words[y]!;
            for (let z = z0; z < z0 + tileZ; z++) result.push(slot++, word & inner.words[z]!);
          }
        }
      }
      result.push(slot, 0);
    }
  }
}

/**
 * Tiles of queries from `first` to before `past`: halved along the axis on which they are the most windows, where a
 * stride ends if one does, so that at every scale few windows lie between tiles that follow each other.
 */
function eachNear(
  first: Three<number>,
  past: Three<number>,
  axes: Three<NeighborhoodAxis>,
  tile: Three<number>,
  visit: (x: number, y: number, z: number) => void,
): void {
  const windows = axes.map(({ window }, a) => {
    const count = past[a]! - first[a]!;
    return count > 1 ? (count * tile[a]!) / window : 0;
  });
  const longest = windows.indexOf(Math.max(...windows));
  const count = past[longest]! - first[longest]!;
  if (count === 1) {
    visit(...first);
    return;
  }
  const stride = Math.max(1, Math.round(axes[longest]!.stride / tile[longest]!));
  const strides = Math.round(count / 2 / stride) * stride;
  const half = first[longest]! + (strides > 0 && strides < count ? strides : Math.ceil(count / 2));
  const cut = (end: Three<number>) => end.map((at, a) => (a === longest ? half : at)) as unknown as Three<number>;
  eachNear(first, cut(past), axes, tile, visit);
  eachNear(cut(first), past, axes, tile, visit);
}

function eachCell([xs, ys, zs]: Three<number>, visit: (x: number, y: number, z: number) => void): void {
  for (let x = 0; x < xs; x++) {
    for (let y = 0; y < ys; y++) {
      for (let z = 0; z < zs; z++) visit(x, y, z);
    }
  }
}

function product([x, y, z]: Three<number>): number {
  return x * y * z;
}
