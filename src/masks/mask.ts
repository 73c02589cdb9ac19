/**
 * Masks: which keys each query sees, in three forms that must agree.
 *
 * `sees` is the definition, for one pair; the reference computes with it. `intervals` is the closed form, for one query;
 * `words` the form of masks without one, for a few queries at once. Kernels take tiles of queries and keys; from these
 * two forms a backend works out which tiles are empty, full or partial, without asking about single pairs.
 */

import { BoundedMap } from '../bounded-map';
import { checkWhole } from '../check';
import type { Intervals } from './intervals';
import type { KeyWords } from './key-words';

/** The problem that a mask is asked about: b batches, n queries, m keys, h query heads sharing g key/value heads. */
export interface Extent {
  readonly b: number;
  readonly n: number;
  readonly m: number;
  readonly h: number;
  readonly g: number;
}

/** An extent as a key. */
export const extentKey = ({ b, n, m, h, g }: Extent) => [b, n, m, h, g].join();

/** One query head of one batch. */
export interface Place extends Extent {
  readonly batch: number;
  readonly head: number;
}

/** Which keys each query sees, in several forms that agree. */
export interface Mask {
  /** Its kind and params, such as `causal window 255`. */
  readonly name: string;
  /** Whether query i sees key j. */
  sees(i: number, j: number, place: Place): boolean;
  /** The keys that query i sees; absent where there is no closed form, and then `words` is there. */
  intervals?(i: number, place: Place): Intervals;
  /** Whether each query sees the previous query's keys shifted by one, except beyond the ends. */
  readonly slides?: boolean;
  /** The keys that up to 32 queries see. */
  words?(queries: ArrayLike<number>, place: Place): KeyWords;
  /** Places with equal variants see the same keys; default: all do. */
  variant?(place: Place): number | string;
  /** An order of queries and keys with fewer partial tiles, for masks and extents that benefit from one. */
  arrange?(extent: Extent): Arrangement | undefined;
  /** The keys that tiles of `size` queries see. */
  tiles?(extent: Extent, size: number): Tiles;
  /** Whether it is of a single call, so that nothing that follows from it is kept. */
  readonly isPassing?: boolean;
  /** The names of the parts because of which query i sees key j, or does not; default: all of it. */
  because?(i: number, j: number, place: Place): readonly string[];
  /** Throws a ShapeError if the mask does not fit the problem. */
  check?(extent: Extent): void;
}

/** Queries and keys in the order in which kernels take them. */
export interface Arrangement {
  /** The query in each slot, -1 for none. */
  readonly queries: Int32Array;
  /** The key in each slot, -1 for none. */
  readonly keys: Int32Array;
  /** The key slots that the queries in `count` (at most 32) slots from `first` see. */
  words(first: number, count: number, place: Place): KeyWords;
}

/** The keys that tiles of queries see. */
export interface Tiles {
  /** The query and the key in each slot; absent where slots are queries and keys themselves. */
  readonly queries?: Int32Array | undefined;
  readonly keys?: Int32Array | undefined;
  /**
   * Adds what the queries in a tile's slots see. Tiles come one after the other; false, and nothing is added, if this one
   * sees what the one before it does.
   */
  see(tile: number, place: Place, seen: SeenKeys): boolean;
}

/** Receives runs of key slots in order, with a word whose bit r says whether the tile's query r sees them. */
export interface SeenKeys {
  addKeys(start: number, end: number, word: number): void;
}

const KEPT = 256;
const known = new BoundedMap<string, Mask>(KEPT);

/** The one mask of that name. Equal masks are the same object, so that what follows from them is computed once. */
export function interned<M extends Mask>(mask: M): M {
  return known.get(mask.name, () => mask) as M;
}

/** Every place of a problem. */
export function* placesOf(extent: Extent): Generator<Place> {
  for (let batch = 0; batch < extent.b; batch++) {
    for (let head = 0; head < extent.h; head++) yield { ...extent, batch, head };
  }
}

/** The problem of one head: what pictures and examples are about. */
export function oneHead(n: number, m: number): Place {
  checkWhole('n', n, 1);
  checkWhole('m', m, 1);
  return { b: 1, n, m, h: 1, g: 1, batch: 0, head: 0 };
}
