import { ParseError } from '../errors';

const SPACE = /[ \t\r\n]*/y;
const WORD = /[\w.+-]*/y;

/** Reads the header of a tensor file token by token; the first departure is a ParseError that says where and what. */
export class Scanner {
  #at = 0;

  /** Messages begin with `label`. `trailingComma` allows one at the end of a list, as Python does and JSON does not. */
  constructor(
    readonly text: string,
    public label: string,
    readonly trailingComma: boolean,
  ) {}

  /** Takes `token` if it comes next, after white space. */
  take(token: string): boolean {
    this.#match(SPACE);
    if (!this.text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  expect(token: string): void {
    if (!this.take(token)) this.fail(token);
  }

  /** Takes `open`, items parted by commas, and `close`. */
  list(open: string, close: string, item: () => void): void {
    this.expect(open);
    if (this.take(close)) return;
    do item();
    while (!this.take(close) && this.#comma(close));
  }

  /** Takes a list of non-negative integers. */
  integers(open: string, close: string): number[] {
    const values: number[] = [];
    this.list(open, close, () => values.push(this.integer()));
    return values;
  }

  integer(): number {
    this.#match(SPACE);
    const start = this.#at;
    const word = this.#match(WORD);
    const value = Number(word);
    if (/^(0|[1-9]\d*)$/.test(word) && Number.isSafeInteger(value)) return value;
    this.#at = start;
    return this.fail('a non-negative integer below 2^53');
  }

  /** Takes a string within one of the `quotes`; returns what is between them, escapes as they stand. */
  string(quotes: string): string {
    this.#match(SPACE);
    const quote = this.text[this.#at];
    if (quote === undefined || !quotes.includes(quote)) return this.fail('a string');
    let end = this.#at;
    do end = this.text.indexOf(quote, end + 1);
    while (end !== -1 && this.#escaped(end));
    if (end === -1) return this.fail('a string that ends');
    const content = this.text.slice(this.#at + 1, end);
    this.#at = end + 1;
    return content;
  }

  /** Throws unless only white space is left. */
  end(): void {
    this.#match(SPACE);
    if (this.#at < this.text.length) this.fail('the end of the header');
  }

  fail(expected: string): never {
    const rest = this.text.slice(this.#at, this.#at + 24);
    const found = rest === '' ? 'its end' : JSON.stringify(rest);
    throw new ParseError(`${this.label}: expected ${expected} at character ${this.#at} of the header, got ${found}`);
  }

  /** True if another item follows; throws unless there is a comma before it. */
  #comma(close: string): boolean {
    if (!this.take(',')) this.fail(`, or ${close}`);
    return !(this.trailingComma && this.take(close));
  }

  #escaped(quoteAt: number): boolean {
    let at = quoteAt;
    while (this.text[at - 1] === '\\') at--;
    return (quoteAt - at) % 2 === 1;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [match] = pattern.exec(this.text) as RegExpExecArray;
    this.#at += match.length;
    return match;
  }
}
