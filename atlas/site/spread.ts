/** Labels that do not pile up. */

/** Sorted places, in pixels, moved apart, so that each has its height: downwards, then up again from the floor. */
export function spread(places: readonly number[], heights: readonly number[], floor: number): number[] {
  const moved = [...places];
  for (let at = 1; at < moved.length; at++) moved[at] = Math.max(moved[at], moved[at - 1] + heights[at - 1]);
  for (let [at, limit] = [moved.length - 1, floor]; at >= 0; at--)
    limit = moved[at] = Math.min(moved[at], limit - heights[at]);
  return moved;
}
