import type { Expression } from '../expressions/expression';
import { Forms } from '../expressions/forms';
import { type Captured, type CapturedValues, parseAll, type Read, sourceOf } from '../expressions/parse';
import type { Words } from '../expressions/words';
import { checkCaptured, type Score, withDerivatives } from './score';

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
  captured: CapturedValues<C> & Words & { readonly n: number; readonly m: number },
) => number;

/**
 * The modifier that `fn` says, such as `from((score, b, h, q, k, { bias }) => score + bias[k], { bias })`.
 *
 * The function is compiled from its source, once, and never called; so it is one expression (or declarations, `if`s and
 * `return`) of its parameters and `Math`, and what else it uses is passed as `captured`: numbers, booleans, flat arrays,
 * host tensors (their `data` and `shape`) and tensors. Arrays are copied: what becomes of them later changes nothing.
 *
 * A tensor is read where it is, when attention is called, as one row whatever its shape, such as `bias[h * 64 + k]` of a
 * `bias` that an op just computed: f32, contiguous, on the runtime of the call. Its `shape` is there too. It is an input
 * of the call like q, k and v, so it has a gradient, and must live until the call. An index outside an array or tensor
 * reads NaN.
 *
 * Other numbers and tensors compile nothing again, but for numbers of which an index, bits, an exponent or what is rounded
 * or compared is made (beside the score), since these are to be exact.
 *
 * Integers are exact within 32 bits; all else is float32, and integers that it would round are refused where that would
 * give quite another result, as in remainders. A new score of -Infinity hides the key from the query, whatever key and
 * value hold; NaN is no -Infinity, so hide by a condition and not by a sum: `k < n ? score : hidden`.
 *
 * @throws {ParameterError} what cannot be compiled, named with its place
 * @throws {DTypeError} a captured tensor that is not f32
 */
export function from<C extends Captured = Record<never, never>>(fn: ScoreFunction<C>, captured?: C): Score {
  const make = (): Form => {
    const { results, reads } = parseAll(fn, captured === undefined ? {} : captured, SIGNATURE);
    return { reads, ...withDerivatives(results[0] as Expression) };
  };
  const { form, numbers, tensors } = forms.of(fn, '', captured === undefined ? {} : captured, make);
  checkCaptured(tensors);
  const { expression, derivative, tables } = form;
  return { name: `from ${sourceOf(fn)}`, expression, derivative, tables, numbers, tensors };
}

type Form = Pick<Score, 'expression' | 'derivative' | 'tables'> & { readonly reads: readonly Read[] };
const forms = new Forms<Form>();

const SIGNATURE = {
  caller: 'scores.from',
  parameters: ['score', 'b', 'h', 'q', 'k'],
  returns: 'number',
  hasInputs: true,
} as const;
