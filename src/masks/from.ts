import { evaluate } from '../expressions/evaluate';
import { type Captured, parse, sourceOf } from '../expressions/parse';
import { renumbered } from '../expressions/renumber';
import { inputsOf } from '../expressions/steps';
import { ExpressionWords } from './expression-words';
import type { Mask } from './mask';

/** Whether query q sees key k, in batch b and query head h. `captured` also has n and m, the numbers of both. */
export type MaskFunction<C extends Captured> = (
  b: number,
  h: number,
  q: number,
  k: number,
  captured: C & { readonly n: number; readonly m: number },
) => boolean;

/**
 * The mask that `fn` says, such as `from((b, h, q, k, { doc }) => doc[q] === doc[k] && k <= q, { doc })`.
 *
 * The function is compiled from its source, once, and never called; so it is one expression (or declarations, `if`s and
 * `return`) of its parameters and `Math`, and what else it uses is passed as `captured`: numbers, booleans, flat arrays
 * and tensors (their `data` and `shape`), which are copied. An index outside an array reads NaN. A ParameterError tells
 * what cannot be compiled.
 */
export function from<C extends Captured = Record<never, never>>(fn: MaskFunction<C>, captured?: C): Mask {
  const expression = parse(fn, captured === undefined ? {} : captured, {
    caller: 'masks.from',
    parameters: ['b', 'h', 'q', 'k'],
    returns: 'boolean',
  });
  const inputs = inputsOf(expression);
  let words: ExpressionWords | undefined;
  return {
    name: `from ${sourceOf(fn)}`,
    sees: (i, j, place) => evaluate(expression, i, j, { b: place.batch, h: place.head, n: place.n, m: place.m }) === 1,
    words(queries, place) {
      words ??= new ExpressionWords(renumbered(expression));
      return words.of(queries, place);
    },
    variant: ({ batch, head }) => `${inputs.has('b') ? batch : ''}/${inputs.has('h') ? head : ''}`,
  };
}
