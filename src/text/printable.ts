/** Control characters but line breaks and tabs, and what reverses the order of text on a terminal. */
export const HARMFUL = /[^\P{Cc}\n\t]|[\u2028\u2029]|\p{Bidi_Control}/gu;

/** `text` as a terminal shows it harmlessly, whatever names from files or callers it holds: with such characters escaped. */
export function printable(text: string): string {
  return text.replace(HARMFUL, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
