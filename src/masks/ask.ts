/** The checked functions on masks for callers; the library uses unchecked ones. */
import { checkNumbers } from '../check';
import { checkMask, checkPlace } from './check';
import { type KeyWords, keyWords as wordsOf } from './key-words';
import type { Mask, Place } from './mask';

/** The words of up to 32 queries of any mask. */
export function keyWords(mask: Mask, queries: ArrayLike<number>, place: Place): KeyWords {
  checkMask('mask', mask);
  checkPlace(place);
  const isQuery = (i: number) => Number.isInteger(i) && i >= 0 && i < place.n;
  checkNumbers('queries', queries, `up to 32 integers from 0 to ${place.n - 1}`, isQuery);
  return wordsOf(mask, queries, place);
}
