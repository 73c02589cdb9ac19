/** Control characters except line breaks and tabs, and characters that reverse text on a terminal. */
export const HARMFUL = /[^\P{Cc}\n\t]|[\u2028\u2029]|\p{Bidi_Control}/gu;

/** `text` with characters escaped that could harm a terminal, since it may contain names from files or callers. */
export function printable(text: string): string {
  return text.replace(HARMFUL, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
