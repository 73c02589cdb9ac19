/** The words of questions, and the garments that answers name. */
import { show } from '../../check';
import { ParameterError } from '../../errors';

/** Fashion-MNIST's, in its order. */
export const ANSWERS = [
  ...['T-shirt', 'trousers', 'pullover', 'dress', 'coat'],
  ...['sandal', 'shirt', 'sneaker', 'bag', 'ankle boot'],
] as const;

export const COLOURS = ['red', 'green', 'blue', 'yellow'] as const;
/** Garments that a question may ask for, and which answers there are. */
export const KINDS: Readonly<Record<string, readonly number[]>> = { shoe: [5, 7, 9], top: [0, 2, 4, 6] };

/** Garments of a picture along both axes. */
export const CELLS = 4;

/** Tokens of a question: the first word, a colour or none, and the kind. */
export const QUESTION = 3;
const FIRST = 'which';
/** Stands for a colour that is not given. */
const ANY = '';
export const WORDS = [FIRST, ANY, ...COLOURS, ...Object.keys(KINDS)] as const;

/** The tokens of 'which red shoe' or 'which shoe'. */
export const tokensOf = (kind: string, colour: string = ANY): number[] =>
  [FIRST, colour, kind].map((word) => (WORDS as readonly string[]).indexOf(word));

/** @throws {ParameterError} a question of other words, or in another order */
export function parseQuestion(question: string): number[] {
  if (typeof question !== 'string') throw new ParameterError(`question must be a string, got ${show(question)}`);
  const words = question.toLowerCase().match(/[\p{L}\p{N}-]+/gu) ?? [];
  const unknown = words.find((word) => !(WORDS as readonly string[]).includes(word));
  if (unknown !== undefined)
    throw new ParameterError(
      `question has the word ${show(unknown)}, which the model does not know: it knows ${WORDS.filter(Boolean).join(', ')}`,
    );
  const [first, ...others] = words;
  const [kind, colour] = others.reverse();
  const isQuestion =
    first === FIRST &&
    others.length >= 1 &&
    others.length <= 2 &&
    Object.hasOwn(KINDS, kind as string) &&
    (colour === undefined || (COLOURS as readonly string[]).includes(colour));
  if (!isQuestion)
    throw new ParameterError(
      `question must be 'which', a colour or none, and ${Object.keys(KINDS).join(' or ')}, got ${show(question)}`,
    );
  return tokensOf(kind as string, colour);
}
