/** Masks about the first keys and the first queries; query i is at position i + m - n, as in a band. */
import { checkWhole } from './check';
import { interned, type Mask } from './mask';

/**
 * The first `count` keys, for every query: those that causal queries of a prefix language model see besides,
 * `or(causal(), prefix(count))`.
 */
export function prefix(count: number): Mask {
  return firstKeys('prefix', count);
}

/**
 * The first `count` keys, for every query: the attention sinks that a window keeps,
 * `and(causal(), or(band(255, 0), sinks(4)))` (Xiao et al. 2023, arXiv 2309.17453).
 */
export function sinks(count: number): Mask {
  return firstKeys('sinks', count);
}

/** Every key, for the queries at the first `count` positions. */
export function firstQueries(count: number): Mask {
  checkWhole('count of first queries', count, 0);
  return interned({
    name: `first queries ${count}`,
    sees: (i, _, { n, m }) => i + m - n < count,
    intervals: (i, { n, m }) => (i + m - n < count ? [0, m] : []),
  });
}

function firstKeys(what: string, count: number): Mask {
  checkWhole(`count of ${what}`, count, 0);
  return interned({
    name: `${what} ${count}`,
    sees: (_, j) => j < count,
    intervals: (_, { m }) => (count > 0 ? [0, Math.min(count, m)] : []),
  });
}
