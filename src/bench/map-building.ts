/** Times the building of a mask's tile map, and checks the map. */
import type { Extent, Mask } from '../masks/mask';
import { WrongResultError } from '../measure/gate';
import { type BlockMap, RUN_LENGTH } from '../ops/attention/block-map/block-map';
import { blockMap } from '../ops/attention/block-map/cpu';
import { PATTERN_LENGTH } from '../ops/attention/params';
import { PANEL, TILE } from '../runtime/cpu/params';
import { someOf } from './expected';

/**
 * Milliseconds of each round, which builds the map of a new mask, so that nothing is cached. Before the rounds it builds maps
 * for `warmUp` milliseconds, as in every measurement.
 */
export function timeBlockMap(
  make: () => Mask,
  extent: Extent,
  { rounds, warmUp }: { readonly rounds: number; readonly warmUp: number },
): number[] {
  const build = () => {
    const fresh = make();
    const start = performance.now();
    blockMap(fresh, extent);
    return performance.now() - start;
  };
  for (const end = performance.now() + warmUp; performance.now() < end; ) build();
  return Array.from({ length: rounds }, build);
}

/**
 * Throws a WrongResultError unless the map agrees with the mask on some queries of the first head. Only for maps that
 * keep queries and keys in their own order.
 */
export function checkBlockMap(map: BlockMap, mask: Mask, extent: Extent): void {
  const place = { ...extent, batch: 0, head: 0 };
  for (const query of someOf(extent.n)) {
    const seen = keysInMap(map, query, extent.m);
    for (let key = 0; key < extent.m; key++) {
      if (mask.sees(query, key, place) === (seen[key] === 1)) continue;
      throw new WrongResultError(`its map is wrong about query ${query} and key ${key}`);
    }
  }
}

/** 1 for each of m keys that the query sees. */
function keysInMap({ tileRuns, runs, patterns }: BlockMap, query: number, m: number): Uint8Array {
  const seen = new Uint8Array(m);
  const tile = Math.floor(query / TILE);
  const [first, count] = [tileRuns[2 * tile] as number, tileRuns[2 * tile + 1] as number];
  for (let at = first * RUN_LENGTH; at < (first + count) * RUN_LENGTH; at += RUN_LENGTH) {
    const [panel, past, pattern] = runs.subarray(at, at + RUN_LENGTH) as unknown as [number, number, number];
    for (let key = panel * PANEL; key < Math.min(past * PANEL, m); key++) {
      const word = patterns[pattern * PATTERN_LENGTH + (key % PANEL)] as number;
      seen[key] = (word >> (query % TILE)) & 1;
    }
  }
  return seen;
}
