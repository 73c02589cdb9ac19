/**
 * How much faster a tiled kernel can get by (generalized) neighborhood attention: an open counterpart of NATTENSim.
 *
 * A kernel computes whole tiles of queries by keys, so its gain is bounded by the key tiles that a query tile visits,
 * not by the keys its queries see. Source: Hassani et al. 2025, arXiv 2504.16922, appendix B.1.
 */
import { ParameterError } from '../errors';
import { checkNeighborhoodAxis, type NeighborhoodAxis } from '../masks/neighborhood-axis';
import { sizeOf } from '../tensor/shape';
import { isBlockSparse } from './block-sparse';
import { countAxisTiles, countFlatTiles, type TileCount, type Tiling } from './tile-counts';

/** One number holds for every axis of the grid. */
export type PerAxis<T> = T | readonly T[];

export interface GnaSetting {
  /** Tokens along each axis. */
  readonly grid: readonly number[];
  readonly window: PerAxis<number>;
  /** Queries that share a window. Default: 1. */
  readonly stride?: PerAxis<number>;
  /** Default: 1. */
  readonly dilation?: PerAxis<number>;
  /** Default: false. */
  readonly causal?: PerAxis<boolean>;
}

/** Tile shapes with an extent for each axis of the grid, or with one, which tiles the grid flattened in row-major order. */
export interface GnaTiles {
  readonly queryTile: readonly number[];
  readonly keyTile: readonly number[];
  /** Default: static. */
  readonly tiling?: Tiling;
}

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
  /** Upper bound of the operator's speed-up over self attention: `total / visited`. */
  readonly speedup: number;
  /** The same by `meanVisited`: what a scheduler could reach that balances query tiles. */
  readonly meanSpeedup: number;
  /** Bound by the count of multiplications: tokens of the grid over tokens of the window. */
  readonly flopSpeedup: number;
  /** Share of the pairs of queries and keys that are not seen. */
  readonly sparsity: number;
  /** True if no visited tile needs a mask, by a rule that is sufficient but not necessary (`isBlockSparse`). */
  readonly perfectlyBlockSparse: boolean;
}

/** Counts the tiles of `setting`. What does not fit is a ParameterError that names the argument. */
export function simulateGna(setting: GnaSetting, tiles: GnaTiles): GnaSimulation {
  const axes = gridAxes(setting);
  const { queryTile, keyTile, tiling = 'static' } = tiles;
  checkTiles(axes.length, tiles);
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
    ...bounds(counts, sizeOf(extents.map((extent, at) => Math.ceil(extent / (keyTile[at] as number))))),
    ...flopBounds(axes),
    perfectlyBlockSparse: isBlockSparse(axes, { queryTile, keyTile, tiling }),
  };
}

/**
 * Speed-up of a run of which attention takes `attentionShare` (0 to 1) and gets `speedup` times as fast. If only some
 * steps use the faster attention, the share is that of the whole times theirs.
 */
export function endToEndSpeedup(speedup: number, attentionShare: number): number {
  if (!(attentionShare >= 0 && attentionShare <= 1)) {
    throw new ParameterError(`attentionShare must be a number from 0 to 1, got ${attentionShare}`);
  }
  return 1 / (1 - attentionShare + attentionShare / speedup);
}

/** The axes of a setting, with its defaults filled in; throws a ParameterError unless everything fits. */
export function gridAxes({ grid, window, stride = 1, dilation = 1, causal = false }: GnaSetting): NeighborhoodAxis[] {
  if (grid.length === 0) throw new ParameterError('grid must have an axis, got none');
  const windows = perAxis('window', window, grid.length);
  const strides = perAxis('stride', stride, grid.length);
  const dilations = perAxis('dilation', dilation, grid.length);
  const causals = perAxis('causal', causal, grid.length);
  return grid.map((length, at) => {
    const axis = {
      length,
      window: windows[at] as number,
      stride: strides[at] as number,
      dilation: dilations[at] as number,
      causal: causals[at] as boolean,
    };
    checkNeighborhoodAxis(axis, at);
    return axis;
  });
}

function perAxis<T>(name: string, given: PerAxis<T>, rank: number): readonly T[] {
  if (!Array.isArray(given)) return new Array<T>(rank).fill(given as T);
  if (given.length === rank) return given;
  if (given.length === 1) return new Array<T>(rank).fill(given[0]);
  throw new ParameterError(
    `${name} must have ${rank === 1 ? '1 value' : `1 or ${rank} values`}, as many as the grid has axes, got ${given.join('x')}`,
  );
}

/** Throws a ParameterError unless both tiles have positive extents, for each of `rank` axes or for the flattened grid. */
export function checkTiles(rank: number, { queryTile, keyTile }: GnaTiles): void {
  for (const [name, tile] of Object.entries({ queryTile, keyTile })) {
    if (tile.length !== rank && tile.length !== 1) {
      throw new ParameterError(
        `${name} must have ${rank} extents, as many as the grid has axes, or 1 to tile it flattened, got ${tile.join('x')}`,
      );
    }
    if (!tile.every((extent) => Number.isSafeInteger(extent) && extent >= 1)) {
      throw new ParameterError(`${name} must have integer extents >= 1, got ${tile.join('x')}`);
    }
  }
  if (queryTile.length !== keyTile.length) {
    throw new ParameterError(
      `keyTile must have as many extents as queryTile ${queryTile.join('x')}, got ${keyTile.join('x')}`,
    );
  }
}

/** Query tiles of a grid are all combinations of those of its axes, so that counts and means multiply. */
function bounds(counts: readonly TileCount[], total: number) {
  const tilesPerAxis = counts.map((count) => count.worst);
  const meanTilesPerAxis = counts.map((count) => count.mean);
  const [visited, meanVisited] = [sizeOf(tilesPerAxis), sizeOf(meanTilesPerAxis)];
  return {
    tilesPerAxis,
    meanTilesPerAxis,
    visited,
    meanVisited,
    total,
    speedup: total / visited,
    meanSpeedup: total / meanVisited,
  };
}

/** By whole windows, on causal axes too, as `total` counts a whole grid. */
function flopBounds(axes: readonly NeighborhoodAxis[]) {
  const flopSpeedup = sizeOf(axes.map((axis) => axis.length)) / sizeOf(axes.map((axis) => axis.window));
  return { flopSpeedup, sparsity: 1 - 1 / flopSpeedup };
}
