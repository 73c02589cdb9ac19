/** Vocabularies learned from a text, for a library of tokenizers. */
import { Tokenizer as Encoder } from '@huggingface/tokenizers';
import { checkRecord, checkWhole, show } from '../check';
import { ParameterError } from '../errors';

/** What `tokenizer.json` holds, as Hugging Face's libraries read and write it. */
export type TokenizerFile = Readonly<Record<string, unknown>>;

/** A vocabulary, and texts as token ids. */
export interface Tokenizer {
  /** How many tokens there are. */
  readonly size: number;
  readonly file: TokenizerFile;
  /** Text outside the vocabulary becomes the file's unknown token, or is left out if there is none. */
  encode(text: string): Int32Array;
  decode(tokens: ArrayLike<number>): string;
}

/** The tokeniser of a `tokenizer.json`. */
export function tokenizerOf(file: TokenizerFile): Tokenizer {
  checkRecord('file of a tokeniser', file);
  let encoder: Encoder;
  try {
    encoder = new Encoder(file, {});
  } catch (error) {
    throw new ParameterError(`the tokenizer's file cannot be used: ${(error as Error).message}`);
  }
  return {
    size: encoder.get_vocab().size,
    file,
    encode(text) {
      checkText(text);
      const ids: number[] = [];
      // Line by line, since what is known of words is looked up sooner in short texts.
      for (const [line] of text.matchAll(/[^\n]*\n*/g))
        if (line) for (const id of encoder.encode(line, { add_special_tokens: false }).ids) ids.push(id);
      return Int32Array.from(ids);
    },
    decode: (tokens) =>
      encoder.decode(Array.from(tokens), { skip_special_tokens: false, clean_up_tokenization_spaces: false }),
  };
}

/** One token for each character of a text, in the order of code points; other characters are refused. */
export function characterTokenizer(text: string): Tokenizer {
  checkText(text);
  const characters = [...new Set(text)].sort((a, b) => (a.codePointAt(0) as number) - (b.codePointAt(0) as number));
  const vocab = Object.fromEntries(characters.map((character, id) => [character, id]));
  const split = { type: 'Split', pattern: { Regex: '[\\s\\S]' }, behavior: 'Isolated', invert: false };
  const model = { type: 'BPE', ...NO_PIECES, vocab, merges: [] };
  const tokenizer = tokenizerOf({ ...HEAD, pre_tokenizer: split, decoder: { type: 'Fuse' }, model });
  return {
    ...tokenizer,
    encode(text) {
      checkText(text);
      for (const character of text)
        if (!Object.hasOwn(vocab, character))
          throw new ParameterError(
            `text must be of the ${characters.length} characters that are known, got ${show(character)}`,
          );
      return tokenizer.encode(text);
    },
  };
}

const HEAD = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  post_processor: null,
};
const NO_PIECES = {
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
};
const BY_BYTES = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };

/**
 * Byte-pair merges (Sennrich et al. 2016, arXiv 1508.07909) of the UTF-8 bytes of a text's words, as GPT-2 has them: of all pairs of
 * neighbours within words the most frequent becomes a token, until there are `size`, 256 bytes among them, or no pair occurs twice.
 */
export function bytePairTokenizer(text: string, size: number): Tokenizer {
  checkText(text);
  checkWhole('size', size, 256, 2 ** 20);
  const counts = new Map<string, number>();
  for (const [word] of text.matchAll(WORD)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const words = [...counts].map(([word, count]) => ({ tokens: [...new TextEncoder().encode(word)], count }));
  const names = BYTE_NAMES.slice();
  const merges: [string, string][] = [];
  const pairs = new Pairs();
  words.forEach((word, at) => {
    pairs.add(at, word, 1);
  });
  while (names.length < size) {
    const pair = pairs.most();
    if (!pair) break;
    const [first, second] = pair;
    const merged = names.length;
    merges.push([names[first] as string, names[second] as string]);
    names.push(`${names[first]}${names[second]}`);
    for (const at of pairs.wordsOf(first, second)) {
      const word = words[at] as Word;
      pairs.add(at, word, -1);
      word.tokens = joined(word.tokens, first, second, merged);
      pairs.add(at, word, 1);
    }
  }
  const vocab = Object.fromEntries(names.map((name, id) => [name, id]));
  return tokenizerOf({
    ...HEAD,
    pre_tokenizer: BY_BYTES,
    decoder: BY_BYTES,
    model: { type: 'BPE', ...NO_PIECES, vocab, merges },
  });
}

/** Splits a text as byte-level tokenizers do. */
const WORD = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** A character for each byte: its own where that can be seen, those from U+0100 on in order for the others. */
const BYTE_NAMES: readonly string[] = (() => {
  const isSeen = (byte: number) => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isSeen(byte) ? byte : next++));
})();

interface Word {
  tokens: number[];
  readonly count: number;
}

/** How often pairs of tokens are adjacent, and in which words. */
class Pairs {
  readonly #counts = new Map<number, number>();
  readonly #words = new Map<number, Set<number>>();

  add(at: number, { tokens, count }: Word, sign: 1 | -1): void {
    for (let i = 1; i < tokens.length; i++) {
      const pair = keyOf(tokens[i - 1] as number, tokens[i] as number);
      const sum = (this.#counts.get(pair) ?? 0) + sign * count;
      if (sum > 0) this.#counts.set(pair, sum);
      else this.#counts.delete(pair);
      if (sign < 0) continue;
      const words = this.#words.get(pair);
      if (words) words.add(at);
      else this.#words.set(pair, new Set([at]));
    }
  }

  /** The most frequent pair, at least twice; among equally frequent ones the first by its tokens. */
  most(): [number, number] | undefined {
    let [best, most] = [0, 1];
    for (const [pair, count] of this.#counts)
      if (count > most || (count === most && most > 1 && pair < best)) [best, most] = [pair, count];
    return most > 1 ? [Math.floor(best / SPAN), best % SPAN] : undefined;
  }

  /** Removes the pair. */
  wordsOf(first: number, second: number): Set<number> {
    const pair = keyOf(first, second);
    const words = this.#words.get(pair) as Set<number>;
    this.#words.delete(pair);
    return words;
  }
}

/** More than the number of tokens. */
const SPAN = 2 ** 21;
const keyOf = (first: number, second: number) => first * SPAN + second;

function joined(tokens: readonly number[], first: number, second: number, merged: number): number[] {
  const result: number[] = [];
  for (let at = 0; at < tokens.length; at++) {
    if (tokens[at] === first && tokens[at + 1] === second) {
      result.push(merged);
      at++;
    } else result.push(tokens[at] as number);
  }
  return result;
}

function checkText(text: string): void {
  if (typeof text !== 'string' || text === '')
    throw new ParameterError(`text must be a string that is not empty, got ${show(text)}`);
}
