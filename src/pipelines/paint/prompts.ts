/** Prompts as words: "a shirt, a bag and a shoe". */
import { ParameterError } from '../../errors';
import { printable } from '../../text/printable';

/** Tokens of a prompt: its words between a start and ends. */
export const TOKENS = 12;
const [START, END] = [0, 1];
const SMALL = ['a', 'an', 'and'];

/** Tokens are the start, the end, the small words, and then the words of classes. */
export const vocabularySize = (words: readonly string[]): number => 2 + SMALL.length + words.length;

export interface Prompt {
  /** [12]. */
  readonly tokens: Int32Array;
  /** Tokens with the start and one end. */
  readonly length: number;
  /** The places of the words of classes among the tokens, and their classes. */
  readonly subjects: readonly number[];
  readonly classes: readonly number[];
}

export const NO_PROMPT: Int32Array = new Int32Array(TOKENS).fill(END).fill(START, 0, 1);

/** Whether a class may be called so. */
export const isWord = (word: string): boolean => /^[a-z][a-z-]*$/.test(word) && !SMALL.includes(word);

/** The prompt that asks for these. */
export function promptOf(words: readonly string[]): string {
  const article = (word: string) => (/[^s]s$/.test(word) ? '' : /^[aeiou]/.test(word) ? 'an ' : 'a ');
  const each = words.map((word) => `${article(word)}${word}`);
  return each.length < 2 ? each.join('') : `${each.slice(0, -1).join(', ')} and ${each.at(-1)}`;
}

/**
 * A prompt by its words, whatever their case; commas are left out.
 *
 * @throws {ParameterError} unknown words, none of a class, one class twice, more words than there is room for
 */
export function parsePrompt(text: string, words: readonly string[]): Prompt {
  const said = text
    .toLowerCase()
    .split(/[\s,.]+/)
    .filter((word) => word !== '');
  const known = [...SMALL, ...words];
  const things = `a prompt may name ${words.join(', ')}, as in "${promptOf(words.slice(0, 2))}"`;
  const strange = said.find((word) => !known.includes(word));
  if (strange !== undefined)
    throw new ParameterError(`the prompt has the unknown word '${printable(strange)}': ${things}`);
  if (said.length > TOKENS - 2) throw new ParameterError(`a prompt may have ${TOKENS - 2} words, got ${said.length}`);
  const subjects = said.flatMap((word, at) => (words.includes(word) ? [at + 1] : []));
  if (subjects.length === 0) throw new ParameterError(`the prompt names nothing to paint: ${things}`);
  const classes = subjects.map((at) => words.indexOf(said[at - 1] as string));
  if (new Set(classes).size < classes.length)
    throw new ParameterError(`the prompt must name each garment once, got '${printable(text)}'`);
  const tokens = NO_PROMPT.slice();
  for (const [at, word] of said.entries()) tokens[at + 1] = 2 + known.indexOf(word);
  return { tokens, length: said.length + 2, subjects, classes };
}
