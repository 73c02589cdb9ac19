/** Whether visited tiles need a mask. */
import { groupWindow, type NeighborhoodAxis } from '../masks/neighborhood-axis';
import type { GnaTiles } from './tile-counts';
import { groupLengths } from './tile-counts';

/**
 * NATTEN's rule for skipping masks: true only if every visited tile is entirely seen. Sufficient, not necessary: a few settings
 * that need no mask are not recognised. NATTEN's rule omits that the stride must be a multiple of the key tile, which follows
 * for its even tiles but not for odd ones. Tiles of a flattened grid need no mask only if every window is its whole axis.
 * Sources: NATTEN's kernels; for dynamic tiling Hassani et al. 2025, arXiv 2504.16922.
 */
export function isBlockSparse(
  axes: readonly NeighborhoodAxis[],
  { queryTile, keyTile, tiling }: Required<GnaTiles>,
): boolean {
  return axes.every((axis, at) => {
    const [query, key] = [queryTile[at], keyTile[at]];
    const isFlat = queryTile.length < axes.length || query === undefined || key === undefined;
    return groupLengths(axis).every(({ length }) => {
      if (axis.causal) return false;
      if (length === axis.window) return true;
      if (isFlat || axis.stride % query !== 0 || axis.window % key !== 0) return false;
      return tiling === 'dynamic' || startsOnTiles(axis, length, key);
    });
  });
}

/** Whether every window of a group of `length` tokens starts at a key tile, by the first inner one and the last. */
function startsOnTiles(axis: NeighborhoodAxis, length: number, keyTile: number): boolean {
  const { window, stride } = axis;
  const lastGroup = Math.floor(length / stride) * stride;
  const lastStarts = length % stride === 0 || groupWindow(axis, lastGroup, length)[0] % keyTile === 0;
  const innerStarts = stride % keyTile === 0 && (Math.floor(window / 2) - Math.floor(stride / 2)) % keyTile === 0;
  // Two stride groups, whose windows are at the two ends of the axis.
  const onlyEnds =
    length % keyTile === 0 && Math.ceil(length / stride) === 2 && stride + Math.floor(stride / 2) >= length - window;
  return lastStarts && (innerStarts || onlyEnds);
}
