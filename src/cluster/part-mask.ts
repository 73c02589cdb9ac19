/** What a mask of whole sequences says of some of their queries, keys and heads. */
import { type Intervals, pushRun } from '../masks/intervals';
import { KeyWords, keyWords } from '../masks/key-words';
import type { Extent, Mask, Place } from '../masks/mask';
import { type Run, tokensIn } from './shards';

/** What is there of a whole problem. */
export interface Part {
  readonly whole: Extent;
  /** The tokens of queries and of keys, run after run. */
  readonly queries: readonly Run[];
  readonly keys: readonly Run[];
  /** The first of the query heads. */
  readonly firstHead: number;
}

/** The mask of a part, whose queries and keys are numbered by themselves. */
export function partMask(mask: Mask, { whole, queries, keys, firstHead }: Part): Mask {
  const [ofQueries, ofKeys] = [positionsOf(queries), positionsOf(keys)];
  const placeOf = ({ batch, head }: Place): Place => ({ ...whole, batch, head: firstHead + head });
  const { intervals, variant } = mask;
  return {
    name: `part of ${mask.name}`,
    sees: (i, j, place) => mask.sees(ofQueries[i] as number, ofKeys[j] as number, placeOf(place)),
    ...(intervals
      ? {
          intervals: (i: number, place: Place) =>
            intervalsWithin(intervals.call(mask, ofQueries[i] as number, placeOf(place)), keys),
        }
      : {
          words: (chosen: ArrayLike<number>, place: Place) =>
            wordsWithin(
              keyWords(
                mask,
                Array.from(chosen, (i) => ofQueries[i] as number),
                placeOf(place),
              ),
              keys,
            ),
        }),
    ...(variant && { variant: (place: Place) => variant.call(mask, placeOf(place)) }),
  };
}

/** The token in each place. */
export function positionsOf(runs: readonly Run[]): Int32Array {
  const positions = new Int32Array(tokensIn(runs));
  let at = 0;
  for (const [start, past] of runs) for (let token = start; token < past; token++) positions[at++] = token;
  return positions;
}

/** Those keys that lie in runs, numbered from the first run on. */
function intervalsWithin(seen: Intervals, runs: readonly Run[]): Intervals {
  const own: number[] = [];
  let offset = 0;
  for (const [start, past] of runs) {
    // The first interval that ends after the run begins.
    let at = firstAbove(seen.length / 2, (middle) => seen[2 * middle + 1] as number, start);
    for (; 2 * at < seen.length && (seen[2 * at] as number) < past; at++) {
      const [from, to] = [Math.max(seen[2 * at] as number, start), Math.min(seen[2 * at + 1] as number, past)];
      pushRun(own, offset + from - start, offset + to - start);
    }
    offset += past - start;
  }
  return own;
}

function wordsWithin(seen: KeyWords, runs: readonly Run[]): KeyWords {
  const own = new KeyWords();
  let offset = 0;
  for (const [start, past] of runs) {
    own.push(offset, seen.at(start));
    let at = firstAbove(seen.starts.length, (middle) => seen.starts[middle] as number, start);
    for (; at < seen.starts.length && (seen.starts[at] as number) < past; at++)
      own.push(offset + (seen.starts[at] as number) - start, seen.words[at] as number);
    offset += past - start;
  }
  own.push(offset, 0);
  return own;
}

/** The first of `count` places in ascending order whose number is above `limit`. */
function firstAbove(count: number, numberAt: (place: number) => number, limit: number): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numberAt(middle) <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
