/**
 * How much (generalized) neighborhood attention can speed up a tiled kernel: an open counterpart of NATTENSim.
 *
 * A kernel computes whole tiles of queries by keys, so its speed-up is bounded by the key tiles that a query tile visits, not
 * by the keys that its queries see. Source: Hassani et al. 2025, arXiv 2504.16922, appendix B.1.
 */
import { checkNumbers, checkRecord, show } from '../check';
import { ParameterError } from '../errors';
import { gridAxes, type NeighborhoodParams } from '../masks/neighborhood';
import type { NeighborhoodAxis } from '../masks/neighborhood-axis';
import { sizeOf } from '../tensor/shape';
import { isBlockSparse } from './block-sparse';
import { countAxisTiles, countFlatTiles, type GnaTiles, type TileCount, type Tiling } from './tile-counts';

/** Tiles that a kernel of neighborhood attention visits, and the bounds on its speed-up. */
export interface GnaSimulation {
  readonly grid: readonly number[];
  readonly window: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly causal: readonly boolean[];
  readonly queryTile: readonly number[];
  readonly keyTile: readonly number[];
  readonly tiling: Tiling;
  /** Key tiles that the worst query tile visits along each axis; one number if the grid is flattened. */
  readonly tilesPerAxis: readonly number[];
  readonly meanTilesPerAxis: readonly number[];
  /** Key tiles that the worst query tile visits. */
  readonly visited: number;
  /** Mean over all query tiles. */
  readonly meanVisited: number;
  /** Key tiles of the grid, all of which self attention visits. */
  readonly total: number;
  /** Pairs of queries and keys that are computed if every query tile visits as much as the worst, padding included. */
  readonly computedPairs: number;
  /** Upper bound of the operator's speed-up over self attention: `total / visited`. */
  readonly speedup: number;
  /** The same by `meanVisited`: for a scheduler that balances query tiles. */
  readonly meanSpeedup: number;
  /** Bound by the number of multiplications: tokens of the grid over tokens of the window. */
  readonly flopSpeedup: number;
  /** `1 - 1 / flopSpeedup`: the share of pairs that are not seen, causality aside. */
  readonly sparsity: number;
  /** True if no visited tile needs a mask, by a rule that is sufficient but not necessary (`isBlockSparse`). */
  readonly perfectlyBlockSparse: boolean;
}

/** Counts the tiles of `setting`. @throws {ParameterError} if arguments do not fit together */
export function simulateGna(setting: NeighborhoodParams, tiles: GnaTiles): GnaSimulation {
  const axes = gridAxes(setting);
  checkTiles(axes.length, tiles);
  const { queryTile, keyTile, tiling = 'static' } = tiles;
  const isFlat = queryTile.length < axes.length;
  const counts = isFlat
    ? [countFlatTiles(axes, queryTile[0] as number, keyTile[0] as number, tiling)]
    : axes.map((axis, at) => countAxisTiles(axis, queryTile[at] as number, keyTile[at] as number, tiling));
  const extents = isFlat ? [sizeOf(setting.grid)] : setting.grid;
  return {
    grid: [...setting.grid],
    window: axes.map((axis) => axis.window),
    stride: axes.map((axis) => axis.stride),
    dilation: axes.map((axis) => axis.dilation),
    causal: axes.map((axis) => axis.causal),
    queryTile: [...queryTile],
    keyTile: [...keyTile],
    tiling,
    ...bounds(counts, sizeOf(extents.map((extent, at) => Math.ceil(extent / (keyTile[at] as number)))), tiles),
    ...flopBounds(axes),
    perfectlyBlockSparse: isBlockSparse(axes, { queryTile, keyTile, tiling }),
  };
}

/**
 * Speed-up of a run if attention, which takes `attentionShare` of its time (0 to 1), becomes `speedup` times as fast. If only
 * some steps use the faster attention, multiply the share by theirs.
 */
export function endToEndSpeedup(speedup: number, attentionShare: number): number {
  if (!(typeof speedup === 'number' && speedup > 0))
    throw new ParameterError(`speedup must be a number above 0, got ${show(speedup)}`);
  if (!(typeof attentionShare === 'number' && attentionShare >= 0 && attentionShare <= 1)) {
    throw new ParameterError(`attentionShare must be a number from 0 to 1, got ${show(attentionShare)}`);
  }
  return 1 / (1 - attentionShare + attentionShare / speedup);
}

/**
 * Throws a ParameterError, which calls the tiles by `names`, unless the tiling is known and both tiles have positive extents:
 * `rank` of them, as many as the grid has axes, or one for the flattened grid.
 */
export function checkTiles(
  rank: number,
  tiles: GnaTiles,
  names: readonly [queryTile: string, keyTile: string] = ['queryTile', 'keyTile'],
): void {
  checkRecord('tiles', tiles);
  const { queryTile, keyTile, tiling = 'static' } = tiles;
  [queryTile, keyTile].forEach((tile, at) => {
    checkNumbers(
      names[at] as string,
      tile,
      'integer extents >= 1',
      (extent) => Number.isSafeInteger(extent) && extent >= 1,
    );
    if (tile.length !== rank && tile.length !== 1) {
      throw new ParameterError(
        `${names[at]} must have ${rank} extents, as many as the grid has axes, or 1 to tile it flattened, got ${tile.join('x')}`,
      );
    }
  });
  if (tiling !== 'static' && tiling !== 'dynamic') {
    throw new ParameterError(`tiling must be 'static' or 'dynamic', got ${show(tiling)}`);
  }
  if (queryTile.length !== keyTile.length) {
    throw new ParameterError(
      `${names[1]} must have as many extents as ${names[0]} ${queryTile.join('x')}, got ${keyTile.join('x')}`,
    );
  }
}

/** Query tiles of a grid are all combinations of those of its axes, so counts and means multiply. */
function bounds(counts: readonly TileCount[], total: number, { queryTile, keyTile }: GnaTiles) {
  const tilesPerAxis = counts.map((count) => count.worst);
  const meanTilesPerAxis = counts.map((count) => count.mean);
  const [visited, meanVisited] = [sizeOf(tilesPerAxis), sizeOf(meanTilesPerAxis)];
  return {
    tilesPerAxis,
    meanTilesPerAxis,
    visited,
    meanVisited,
    total,
    computedPairs: sizeOf([...counts.map((count) => count.queryTiles), ...queryTile, visited, ...keyTile]),
    speedup: total / visited,
    meanSpeedup: total / meanVisited,
  };
}

/** By whole windows on causal axes too, since self attention is counted by the whole grid. */
function flopBounds(axes: readonly NeighborhoodAxis[]) {
  const flopSpeedup = sizeOf(axes.map((axis) => axis.length)) / sizeOf(axes.map((axis) => axis.window));
  return { flopSpeedup, sparsity: 1 - 1 / flopSpeedup };
}
