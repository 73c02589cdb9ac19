import { checkExtent, checkMask } from './check';
import { keyWords } from './key-words';
import { type Extent, type Mask, type Place, placesOf } from './mask';

/** Counts by mask, then by extents and variant. */
const counted = new WeakMap<Mask, Map<string, number>>();

/** Number of (query, key) pairs seen, summed over all heads and batches. */
export function area(mask: Mask, extent: Extent): number {
  checkMask('mask', mask);
  checkExtent('extent', extent);
  let pairs = 0;
  for (const place of placesOf(extent)) pairs += areaAt(mask, place);
  return pairs;
}

/** Number of pairs that one head sees, counted once for each mask. */
export function areaAt(mask: Mask, place: Place): number {
  const { b, n, m, h, g } = place;
  const key = [b, n, m, h, g, mask.variant?.(place)].join(' ');
  const known = counted.get(mask) ?? new Map<string, number>();
  counted.set(mask, known);
  const pairs = known.get(key) ?? count(mask, place);
  known.set(key, pairs);
  return pairs;
}

function count(mask: Mask, place: Place): number {
  let pairs = 0;
  const { queries, keys, words } = mask.arrange?.(place) ?? {};
  // In an order that a mask proposes, what neighbours see is told by few runs.
  if (queries && keys && words && !queries.includes(-1) && !keys.includes(-1)) {
    for (let first = 0; first < place.n; first += 32)
      pairs += words(first, Math.min(32, place.n - first), place).count();
    return pairs;
  }
  if (mask.intervals) {
    for (let i = 0; i < place.n; i++) {
      const intervals = mask.intervals(i, place);
      for (let at = 0; at < intervals.length; at += 2)
        pairs += (intervals[at + 1] as number) - (intervals[at] as number);
    }
    return pairs;
  }
  for (let first = 0; first < place.n; first += 32) {
    pairs += keyWords(mask, queriesFrom(first, Math.min(32, place.n - first)), place).count();
  }
  return pairs;
}

/** The queries first, first + 1, ... */
export function queriesFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, r) => first + r);
}
