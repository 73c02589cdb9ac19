/** The keys that a few queries see, one by one. */
import type { Intervals } from './intervals';

/**
 * A word for each key whose bit r says whether query r of a tile sees it, kept as the keys at which it changes. Keys
 * before the first change are seen by none.
 */
export class KeyWords {
  readonly starts: number[] = [];
  readonly words: number[] = [];

  /** From `key` on, at least the previous key, the word is `word`. */
  push(key: number, word: number): void {
    const { starts, words } = this;
    if (starts.at(-1) === key) {
      starts.pop();
      words.pop();
    }
    if ((words.at(-1) ?? 0) === word) return;
    starts.push(key);
    words.push(word);
  }

  /** The word of a key. */
  at(key: number): number {
    const { starts, words } = this;
    let [low, high] = [0, starts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((starts[middle] as number) <= key) low = middle + 1;
      else high = middle;
    }
    return words[low - 1] ?? 0;
  }

  /** Number of pairs seen; the last word must be 0. */
  count(): number {
    let pairs = 0;
    for (let at = 0; at + 1 < this.starts.length; at++) {
      pairs += ones(this.words[at] as number) * ((this.starts[at + 1] as number) - (this.starts[at] as number));
    }
    return pairs;
  }
}

/** The keys that queries of a mask see, in one of two forms. */
interface Seeing<Place> {
  intervals?(i: number, place: Place): Intervals;
  words?(queries: ArrayLike<number>, place: Place): KeyWords;
}

/** The words of up to 32 queries of any mask. */
export function keyWords<Place>(mask: Seeing<Place>, queries: ArrayLike<number>, place: Place): KeyWords {
  const { intervals } = mask;
  if (!intervals) return (mask.words as NonNullable<Seeing<Place>['words']>)(queries, place);
  return wordsOf(Array.from(queries, (i) => intervals(i, place)));
}

/** With at most so many keys for each end of an interval, going through the keys is cheaper than sorting the ends. */
const KEYS_PER_END = 16;

/** The words of queries by their intervals. */
export function wordsOf(intervals: readonly Intervals[]): KeyWords {
  let [ends, least, most] = [0, Number.POSITIVE_INFINITY, 0];
  for (const row of intervals) {
    if (row.length === 0) continue;
    ends += row.length;
    least = Math.min(least, row[0] as number);
    most = Math.max(most, row.at(-1) as number);
  }
  if (ends === 0) return new KeyWords();
  return most - least < KEYS_PER_END * ends ? wordsByKeys(intervals, least, most) : wordsByEnds(intervals);
}

/** The words from the changes at each key from `least` to `most`. */
function wordsByKeys(intervals: readonly Intervals[], least: number, most: number): KeyWords {
  const changes = new Int32Array(most - least + 1);
  intervals.forEach((row, r) => {
    for (let at = 0; at < row.length; at++) changes[(row[at] as number) - least]! ^= 1 << r;
  });
  const result = new KeyWords();
  let word = 0;
  for (let at = 0; at < changes.length; at++) {
    if (changes[at] === 0) continue;
    word ^= changes[at] as number;
    result.push(least + at, word);
  }
  return result;
}

/** The words from the sorted ends. */
function wordsByEnds(intervals: readonly Intervals[]): KeyWords {
  const changes = intervals.flatMap((ends, r) => ends.map((key) => key * 32 + r));
  // Typed arrays sort by value without a callback.
  const result = new KeyWords();
  let word = 0;
  for (const change of Float64Array.from(changes).sort()) {
    word ^= 1 << (change % 32);
    result.push(Math.floor(change / 32), word);
  }
  return result;
}

/** The words of `a` and `b` joined key by key. */
export function mergeWords(a: KeyWords, b: KeyWords, join: (a: number, b: number) => number): KeyWords {
  const result = new KeyWords();
  let [atA, atB, wordA, wordB] = [0, 0, 0, 0];
  while (atA < a.starts.length || atB < b.starts.length) {
    const key = Math.min(a.starts[atA] ?? Number.POSITIVE_INFINITY, b.starts[atB] ?? Number.POSITIVE_INFINITY);
    if (a.starts[atA] === key) wordA = a.words[atA++] as number;
    if (b.starts[atB] === key) wordB = b.words[atB++] as number;
    result.push(key, join(wordA, wordB));
  }
  return result;
}

/** Number of bits set. */
export function ones(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
