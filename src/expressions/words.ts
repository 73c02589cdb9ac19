/** Masks in words: which of a few queries see a key, as long stretches of equal words. */
import { KeyWords } from '../masks/key-words';
import type { Place } from '../masks/mask';
import { Grid } from './evaluate';
import type { Expression } from './expression';
import { anyScore, type Box, decide, integers } from './ranges';

/** Queries that a word holds. */
const ROWS = 32;
/** Keys whose pairs are computed at once where ranges do not decide. */
const LEAF = 64;

const grids = new WeakMap<Expression, Grid>();

/**
 * The keys that up to 32 queries see, from a boolean expression; the last word is 0. Stretches of keys that all or none
 * of the queries see are found by ranges, whatever their length.
 */
export function expressionWords(expression: Expression, queries: ArrayLike<number>, place: Place): KeyWords {
  const result = new KeyWords();
  const fixed = { b: place.batch, h: place.head, n: place.n, m: place.m };
  const all = queries.length === ROWS ? -1 : (1 << queries.length) - 1;
  const box: Box = {
    score: anyScore,
    b: integers(fixed.b, fixed.b),
    h: integers(fixed.h, fixed.h),
    n: integers(fixed.n, fixed.n),
    m: integers(fixed.m, fixed.m),
    q: integers(Math.min(...Array.from(queries)), Math.max(...Array.from(queries))),
    k: integers(0, 0),
  };
  let grid = grids.get(expression);
  if (!grid) {
    grid = new Grid(expression, ROWS, LEAF);
    grids.set(expression, grid);
  }
  const leaf = (from: number, to: number) => {
    const keys = Array.from({ length: to - from }, (_, at) => from + at);
    const seen = (grid as Grid).evaluate(queries, keys, fixed);
    // Summed in float64, which is faster than to make each an integer.
    const words = new Float64Array(keys.length);
    for (let r = 0, at = 0, bit = 1; r < queries.length; r++, bit *= 2) {
      for (let c = 0; c < words.length; c++) words[c]! += seen[at++]! * bit;
    }
    for (let c = 0; c < words.length; c++) result.push(from + c, words[c]! | 0);
  };
  const visit = (from: number, to: number) => {
    const decided = decide(expression, { ...box, k: integers(from, to - 1) });
    if (decided !== undefined) result.push(from, decided ? all : 0);
    else if (to - from <= LEAF) leaf(from, to);
    else {
      // Whole leaves, so that the ranges of tables are read by whole stretches.
      const middle = from + Math.ceil((to - from) / 2 / LEAF) * LEAF;
      visit(from, middle);
      visit(middle, to);
    }
  };
  if (queries.length > 0 && place.m > 0) visit(0, place.m);
  result.push(place.m, 0);
  return result;
}
