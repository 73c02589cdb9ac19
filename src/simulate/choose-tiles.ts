/** Chooses the tile shapes for a neighborhood mask with which Saccade's kernels compute least. */
import { BoundedMap } from '../bounded-map';
import { GRID_TILES, gridAxes, type NeighborhoodParams } from '../masks/neighborhood';
import type { NeighborhoodAxis } from '../masks/neighborhood-axis';
import type { TileShapes } from '../masks/neighborhood-tiles';
import { sizeOf } from '../tensor/shape';
import { sumAxisTiles } from './tile-counts';

/** How many of a tile's 24 queries the kernels take at a time: for the scores, and for the sums of values. */
const PARTS = [8, 6] as const;

/**
 * What kernels compute for one head, in tiles of 24 queries by 6 keys: of each tile only the parts, of 8 queries for the scores
 * and of 6 for the values, that see some of its keys. A part counts as the box that its queries span.
 */
export function countTiles(setting: NeighborhoodParams, tiles: TileShapes): number {
  return tileCounter(gridAxes(setting))(tiles);
}

const KEPT = 256;
const chosen = new BoundedMap<string, TileShapes>(KEPT);

/**
 * The shape of the kernels' tiles (24 queries by 6 keys) on the grid with which they compute least, among all shapes with and
 * without padding that aligns windows with key tiles; by enumeration of each axis, in some milliseconds. Ties go to the mask's
 * default, then to the first.
 */
export function chooseTiles(setting: NeighborhoodParams): TileShapes {
  const axes = gridAxes(setting);
  return chosen.get(JSON.stringify(axes), () => leastTiles(axes));
}

function leastTiles(axes: readonly NeighborhoodAxis[]): TileShapes {
  const preset = GRID_TILES[axes.length - 1] as TileShapes;
  const count = tileCounter(axes);
  const candidates = tileCandidates(axes.length).flatMap((tiles) => [
    tiles,
    ...paddings(axes, tiles.keys).map((padding) => ({ ...tiles, padding })),
  ]);
  let [best, least] = [preset, count(preset)];
  for (const tiles of candidates) {
    const computed = count(tiles);
    if (computed < least) [best, least] = [tiles, computed];
  }
  return best;
}

/** Every way to shape the kernels' tiles to a grid of `rank` axes. */
export function tileCandidates(rank: number): TileShapes[] {
  const { queries, keys } = GRID_TILES[rank - 1] as TileShapes;
  const keyShapes = factorisations(sizeOf(keys), rank);
  return factorisations(sizeOf(queries), rank).flatMap((shape) => keyShapes.map((keys) => ({ queries: shape, keys })));
}

/** `countTiles` for many shapes of one setting; sums along an axis recur in many shapes, and are kept. */
function tileCounter(axes: readonly NeighborhoodAxis[]): (tiles: TileShapes) => number {
  const known = new Map<string, number>();
  const boxes = new Map<string, readonly Box[]>();
  const sumOf = (at: number, queries: number, keys: number, padding: number, part: readonly [number, number]) => {
    const key = [at, queries, keys, padding, part].join();
    const sum = known.get(key) ?? sumAxisTiles(axes[at] as NeighborhoodAxis, queries, keys, { part, padding });
    known.set(key, sum);
    return sum;
  };
  const partsOf = (queries: readonly number[], size: number) => {
    const key = [queries, size].join();
    const parts = boxes.get(key) ?? boxesOf(queries, size);
    boxes.set(key, parts);
    return parts;
  };
  // Query tiles of a grid are all combinations of those of its axes, so the sums over them multiply.
  return ({ queries, keys, padding }) => {
    const shares = PARTS.map((size) => {
      const parts = partsOf(queries, size);
      const visits = parts.map((box) =>
        sizeOf(box.map((part, at) => sumOf(at, queries[at]!, keys[at]!, padding?.[at] ?? 0, part))),
      );
      return visits.reduce((sum, count) => sum + count, 0) / parts.length;
    });
    return shares.reduce((sum, share) => sum + share, 0) / PARTS.length;
  };
}

/** The first index along each axis, and one past the last. */
type Box = readonly (readonly [first: number, past: number])[];

/** The box that each run of `size` queries of a tile spans, in row-major order. */
function boxesOf(tile: readonly number[], size: number): Box[] {
  return Array.from({ length: sizeOf(tile) / size }, (_, box) => {
    const tokens = Array.from({ length: size }, (_, at) => box * size + at);
    let below = sizeOf(tile);
    return tile.map((extent) => {
      below /= extent;
      const indices = tokens.map((token) => Math.floor(token / below) % extent);
      return [Math.min(...indices), Math.max(...indices) + 1] as const;
    });
  });
}

/** Every padding of key tiles that aligns the inner windows of some axes with them, except none at all. */
function paddings(axes: readonly NeighborhoodAxis[], keyTile: readonly number[]): number[][] {
  // Most masks along one axis have no arrangement to pad.
  if (axes.length === 1) return [];
  const all = axes.reduce<number[][]>(
    (some, { window, stride, causal }, at) => {
      const start = causal ? stride - window : Math.floor(stride / 2) - Math.floor(window / 2);
      const key = keyTile[at] as number;
      const slots = ((-start % key) + key) % key;
      return some.flatMap((padding) => (slots > 0 ? [0, slots] : [0]).map((own) => [...padding, own]));
    },
    [[]],
  );
  return all.filter((padding) => padding.some((slots) => slots > 0));
}

/** All lists of `rank` extents whose product is `size`. */
function factorisations(size: number, rank: number): number[][] {
  if (rank === 1) return [[size]];
  const divisors = Array.from({ length: size }, (_, at) => at + 1).filter((divisor) => size % divisor === 0);
  return divisors.flatMap((first) => factorisations(size / first, rank - 1).map((rest) => [first, ...rest]));
}
