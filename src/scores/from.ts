import { type Captured, parse, sourceOf } from '../expressions/parse';
import type { Words } from '../expressions/words';
import { named, type Score } from './score';

/**
 * The score of query q and key k, in batch b and query head h, from `score`, which is q.k times the scale. `captured`
 * also has n and m, the numbers of queries and keys, and functions that `Math` lacks, such as `sigmoid`.
 */
export type ScoreFunction<C extends Captured> = (
  score: number,
  b: number,
  h: number,
  q: number,
  k: number,
  captured: C & Words & { readonly n: number; readonly m: number },
) => number;

/**
 * The modifier that `fn` says, such as `from((score, b, h, q, k, { bias }) => score + bias[k], { bias })`.
 *
 * The function is compiled from its source, once, and never called; so it is one expression (or declarations, `if`s and
 * `return`) of its parameters and `Math`, and what else it uses is passed as `captured`: numbers, booleans, flat arrays
 * and tensors (their `data` and `shape`), which are copied: what becomes of them later changes nothing. An index outside an array reads NaN. A ParameterError tells
 * what cannot be compiled.
 *
 * Integers are exact within 32 bits; all else is float32, and integers that it would round are refused where that would
 * give quite another result, as in remainders. A new score of -Infinity hides the key from the query, whatever key and
 * value hold; NaN is no -Infinity, so hide by a condition and not by a sum: `k < n ? score : hidden`.
 */
export function from<C extends Captured = Record<never, never>>(fn: ScoreFunction<C>, captured?: C): Score {
  const expression = parse(fn, captured === undefined ? {} : captured, {
    caller: 'scores.from',
    parameters: ['score', 'b', 'h', 'q', 'k'],
    returns: 'number',
  });
  return named(`from ${sourceOf(fn)}`, expression);
}
