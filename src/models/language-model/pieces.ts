/** The text of tokens as they come: characters that are whole, and nothing that may begin a stop word. */

/** How many tokens are waited for to complete a character: UTF-8 has four bytes at most, and a token one at least. */
const MOST_HELD = 4;
const REPLACEMENT = '\ufffd';

/** Text that does not change any more, from tokens that a tokenizer decodes. */
export class TextOfTokens {
  readonly #tokens: number[] = [];
  /** Tokens from `#from` are decoded again with what follows, as spaces depend on neighbours; those up to `#told` were told. */
  #from = 0;
  #told = 0;

  constructor(private readonly decode: (tokens: readonly number[]) => string) {}

  /** What a further token adds: nothing while a character is incomplete. */
  push(token: number): string {
    this.#tokens.push(token);
    const text = this.#next();
    if (text.endsWith(REPLACEMENT) && this.#tokens.length - this.#told < MOST_HELD) return '';
    return this.#tell(text);
  }

  /** What is held back, incomplete characters as U+FFFD. */
  flush(): string {
    return this.#tell(this.#next());
  }

  #next(): string {
    const before = this.decode(this.#tokens.slice(this.#from, this.#told));
    return this.decode(this.#tokens.slice(this.#from)).slice(before.length);
  }

  #tell(text: string): string {
    this.#from = this.#told;
    this.#told = this.#tokens.length;
    return text;
  }
}

/** Holds back what may be the beginning of a stop word. */
export class StopWords {
  #held = '';

  constructor(private readonly words: readonly string[]) {}

  /** Text before the first stop word, and that word once it is there. */
  push(text: string): { readonly text: string; readonly word?: string } {
    const all = this.#held + text;
    const found = this.words
      .map((word) => ({ word, at: all.indexOf(word) }))
      .filter(({ at }) => at >= 0)
      .sort((a, b) => a.at - b.at || b.word.length - a.word.length)[0];
    if (found) {
      this.#held = '';
      return { text: all.slice(0, found.at), word: found.word };
    }
    const held = Math.max(0, ...this.words.map((word) => overlap(all, word)));
    this.#held = all.slice(all.length - held);
    return { text: all.slice(0, all.length - held) };
  }

  flush(): string {
    const held = this.#held;
    this.#held = '';
    return held;
  }
}

/** How many characters at the end of a text begin a word. */
export function overlap(text: string, word: string): number {
  for (let length = Math.min(word.length - 1, text.length); length > 0; length--)
    if (text.endsWith(word.slice(0, length))) return length;
  return 0;
}
