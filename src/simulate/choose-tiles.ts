/** Which tile shapes suit a neighborhood mask: those with which Saccade's kernels visit the fewest tiles. */
import { BoundedMap } from '../masks/bounded-map';
import { GRID_TILES, gridAxes, type NeighborhoodParams } from '../masks/neighborhood';
import type { NeighborhoodAxis } from '../masks/neighborhood-axis';
import type { TileShapes } from '../masks/neighborhood-tiles';
import { sizeOf } from '../tensor/shape';
import { countAxisTiles } from './tile-counts';

/** Pairs of a query tile and a key tile that it visits, in one head. */
export function countVisits(setting: NeighborhoodParams, tiles: TileShapes): number {
  return sizeOf(gridAxes(setting).map((axis, at) => axisVisits(axis, tiles.queries[at]!, tiles.keys[at]!)));
}

const KEPT = 256;
const chosen = new BoundedMap<string, TileShapes>(KEPT);

/**
 * Of all ways to shape the kernels' tiles, 24 queries by 6 keys, to the grid: the one that visits the fewest pairs of
 * tiles, by enumeration of each axis (about a millisecond). Of equals the default of the mask, then the first.
 */
export function chooseTiles(setting: NeighborhoodParams): TileShapes {
  const axes = gridAxes(setting);
  return chosen.get(JSON.stringify(axes), () => fewestVisits(axes));
}

function fewestVisits(axes: readonly NeighborhoodAxis[]): TileShapes {
  const preset = GRID_TILES[axes.length - 1] as TileShapes;
  // A few extents recur in all the candidates.
  const counts = axes.map(() => new Map<string, number>());
  const visits = ({ queries, keys }: TileShapes) =>
    sizeOf(
      axes.map((axis, at) => {
        const pair = `${queries[at]} ${keys[at]}`;
        const count = counts[at]!.get(pair) ?? axisVisits(axis, queries[at]!, keys[at]!);
        counts[at]!.set(pair, count);
        return count;
      }),
    );
  return tileCandidates(axes.length).reduce((best, tiles) => (visits(tiles) < visits(best) ? tiles : best), preset);
}

/** Every way to shape the kernels' tiles to a grid of `rank` axes. */
export function tileCandidates(rank: number): TileShapes[] {
  const { queries, keys } = GRID_TILES[rank - 1] as TileShapes;
  const keyShapes = factorisations(sizeOf(keys), rank);
  return factorisations(sizeOf(queries), rank).flatMap((shape) => keyShapes.map((keys) => ({ queries: shape, keys })));
}

/** Query tiles of a grid are all combinations of those of its axes, so that the sums over them multiply. */
function axisVisits(axis: NeighborhoodAxis, queryTile: number, keyTile: number): number {
  const { mean, queryTiles } = countAxisTiles(axis, queryTile, keyTile, 'static');
  return Math.round(mean * queryTiles);
}

/** All lists of `rank` extents whose product is `size`. */
function factorisations(size: number, rank: number): number[][] {
  if (rank === 1) return [[size]];
  const divisors = Array.from({ length: size }, (_, at) => at + 1).filter((divisor) => size % divisor === 0);
  return divisors.flatMap((first) => factorisations(size / first, rank - 1).map((rest) => [first, ...rest]));
}
