/** Which strides are worth having. */

import { ParameterError } from '../errors';
import type { NeighborhoodAxis } from '../masks/neighborhood-axis';
import { checkTiles, type GnaSetting, type GnaSimulation, type GnaTiles, gridAxes, simulateGna } from './gna';
import { countAxisTiles, type Tiling } from './tile-counts';

/**
 * Every stride that beats all smaller ones by the bound of its worst tile, simulated: fastest first, and of equally fast
 * ones the smaller first. A stride is smaller if no axis has a larger one. `setting.stride` is not used. Tiles must have
 * an extent for each axis. Source: the pruning rule of Hassani et al. 2025, arXiv 2504.16922.
 */
export function sweepStrides(setting: Omit<GnaSetting, 'stride'>, tiles: GnaTiles): GnaSimulation[] {
  const axes = gridAxes({ ...setting, stride: 1 });
  checkTiles(axes.length, tiles);
  const { queryTile, keyTile, tiling = 'static' } = tiles;
  if (queryTile.length < axes.length) {
    throw new ParameterError(`queryTile must have ${axes.length} extents to sweep strides, got ${queryTile.join('x')}`);
  }
  const worth = axes.map((axis, at) => axisStrides(axis, queryTile[at] as number, keyTile[at] as number, tiling));
  return combinations(worth)
    .map((stride) => simulateGna({ ...setting, stride }, tiles))
    .sort((a, b) => a.visited - b.visited || a.meanVisited - b.meanVisited);
}

/**
 * The strides of one axis that visit fewer tiles than every smaller one. Counts of axes multiply, so a stride of the
 * grid beats all smaller ones exactly if each of its axes does.
 */
function axisStrides(axis: NeighborhoodAxis, queryTile: number, keyTile: number, tiling: Tiling): number[] {
  const fewest = Math.ceil(axis.window / keyTile);
  const strides: number[] = [];
  let least = Number.POSITIVE_INFINITY;
  for (let stride = 1; stride <= axis.window && least > fewest; stride++) {
    const { worst } = countAxisTiles({ ...axis, stride }, queryTile, keyTile, tiling);
    if (worst >= least) continue;
    least = worst;
    strides.push(stride);
  }
  return strides;
}

/** One of each list, in all ways, the last list's varying fastest. */
function combinations(lists: readonly (readonly number[])[]): number[][] {
  return lists.reduce<number[][]>((heads, list) => heads.flatMap((head) => list.map((item) => [...head, item])), [[]]);
}
