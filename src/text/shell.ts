/** Commands that can be copied into a terminal, whatever their words contain. */
import { HARMFUL } from './printable';

/** Words that every shell takes literally. */
const PLAIN = /^[\w+,./:@-]+$/;

/** A command of these words for a POSIX shell: each is quoted where it has to be, so that it is taken for itself. */
export function shellCommand(words: readonly string[]): string {
  return words.map((word) => (PLAIN.test(word) ? word : quoted(word))).join(' ');
}

/** Characters that a terminal would act on before a shell sees their quotes are escaped. */
function quoted(word: string): string {
  const spelt = (character: string) => `'"$(printf '${octal(character)}')"'`;
  return `'${word.replaceAll("'", `'\\''`).replace(HARMFUL, spelt).replaceAll('\t', spelt)}'`;
}

function octal(character: string): string {
  return Array.from(new TextEncoder().encode(character), (byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
}
