/** Finds the strides that are worth using. */
import { checkRecord } from '../check';
import { ParameterError } from '../errors';
import { gridAxes, type NeighborhoodParams } from '../masks/neighborhood';
import type { NeighborhoodAxis } from '../masks/neighborhood-axis';
import { sameShape } from '../tensor/shape';
import { checkTiles, type GnaSimulation, simulateGna } from './gna';
import { countAxisTiles, type GnaTiles, type Tiling, visitsFewer } from './tile-counts';

/**
 * Every stride that computes fewer pairs than all smaller ones (if all query tiles are as bad as the worst), simulated with the
 * best of some tiles, the fewest pairs first. A stride is smaller if it is on no axis larger. Tiles must have an extent for
 * each axis. Source: the pruning rule of Hassani et al. 2025, arXiv 2504.16922.
 */
export function sweepStrides(
  setting: Omit<NeighborhoodParams, 'stride'>,
  ...menu: readonly GnaTiles[]
): GnaSimulation[] {
  const sorted = menu
    .flatMap((tiles) => sweepTiles(setting, tiles))
    .sort((a, b) => a.computedPairs - b.computedPairs || a.meanVisited - b.meanVisited);
  return sorted.filter((one, at) => !sorted.some((other, before) => before !== at && beats(other, one, before < at)));
}

function sweepTiles(setting: Omit<NeighborhoodParams, 'stride'>, tiles: GnaTiles): GnaSimulation[] {
  checkRecord('setting', setting);
  const axes = gridAxes({ ...setting, stride: 1 });
  checkTiles(axes.length, tiles);
  const { queryTile, keyTile, tiling = 'static' } = tiles;
  if (queryTile.length < axes.length) {
    throw new ParameterError(
      `tiles must have an extent for each of ${axes.length} axes to sweep strides, got ${queryTile.join('x')}`,
    );
  }
  const worth = axes.map((axis, at) => axisStrides(axis, queryTile[at] as number, keyTile[at] as number, tiling));
  return combinations(worth).map((stride) => simulateGna({ ...setting, stride }, tiles));
}

/** Whether `other` computes as few pairs with a smaller stride, or with the same and comes first. */
function beats(other: GnaSimulation, one: GnaSimulation, comesFirst: boolean): boolean {
  const isWithin = other.stride.every((stride, at) => stride <= (one.stride[at] as number));
  const isSame = isWithin && sameShape(other.stride, one.stride);
  return isWithin && other.computedPairs <= one.computedPairs && (!isSame || comesFirst);
}

/**
 * The strides of one axis that visit fewer tiles than every smaller one. Counts of axes multiply, so a stride of the grid beats
 * all smaller ones exactly if it does on each axis.
 */
function axisStrides(axis: NeighborhoodAxis, queryTile: number, keyTile: number, tiling: Tiling): number[] {
  const fewest = Math.ceil(axis.window / keyTile);
  const strides: number[] = [];
  let least = Number.POSITIVE_INFINITY;
  for (let stride = 1; stride <= axis.window && least > fewest; stride++) {
    if (!visitsFewer({ ...axis, stride }, queryTile, keyTile, tiling, least)) continue;
    least = countAxisTiles({ ...axis, stride }, queryTile, keyTile, tiling).worst;
    strides.push(stride);
  }
  return strides;
}

/** All combinations of one item from each list, the last list's varying fastest. */
function combinations(lists: readonly (readonly number[])[]): number[][] {
  return lists.reduce<number[][]>((heads, list) => heads.flatMap((head) => list.map((item) => [...head, item])), [[]]);
}
