/** Tokenizers of GGUF files as Hugging Face's `tokenizer.json` would have them. */
import { show } from '../../check';
import { ParseError } from '../../errors';
import { type GgufTokenizer, TOKEN_TYPES } from '../../weights/gguf/tokenizer';
import type { TokenizerFiles } from './tokenizer';

const WORDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const REST = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

/** How text is parted before merges, by the names of GGUF; without a pattern as in GPT-2. */
const PATTERNS: Readonly<Record<string, string | undefined>> = {
  default: undefined,
  'gpt-2': undefined,
  'llama-bpe': `${WORDS}|\\p{N}{1,3}|${REST}`,
  llama3: `${WORDS}|\\p{N}{1,3}|${REST}`,
  qwen2: `${WORDS}|\\p{N}|${REST}`,
};
const SPACE = '▁';

/**
 * The files of a tokenizer, from the fields of a GGUF file.
 *
 * @throws {ParseError} a kind of tokenizer that is not known, by its name
 */
export function filesOfGguf(given: GgufTokenizer): TokenizerFiles {
  const { tokens, special, chatTemplate, json } = given;
  const roles = Object.entries(special).map(([role, id]) => [`${role}_token`, tokens[id]]);
  const config = { ...Object.fromEntries(roles), chat_template: chatTemplate };
  return { tokenizer: json === undefined ? tokenizerOf(given) : JSON.parse(json), config };
}

function tokenizerOf(given: GgufTokenizer): Record<string, unknown> {
  const { tokens, types, special, addBos, addEos } = given;
  const kindOf = (id: number) => TOKEN_TYPES[(types?.[id] ?? 1) as keyof typeof TOKEN_TYPES];
  const added = tokens.flatMap((content, id) => {
    const kind = kindOf(id);
    if (kind !== 'control' && kind !== 'user-defined') return [];
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    return [{ id, content, special: kind === 'control', ...flags }];
  });
  return {
    version: '1.0',
    added_tokens: added,
    post_processor: around(given, addBos ? special.bos : undefined, addEos ? special.eos : undefined),
    ...partsOf(given),
  };
}

function partsOf(given: GgufTokenizer): Record<string, unknown> {
  switch (given.model) {
    case 'gpt2':
      return byteLevel(given);
    case 'llama':
      return sentencePiece(given);
    default:
      throw new ParseError(`the tokenizer must be of the kinds gpt2 or llama, got ${show(given.model)}`);
  }
}

function byteLevel({ pre = 'default', tokens, merges = [] }: GgufTokenizer) {
  if (!Object.hasOwn(PATTERNS, pre))
    throw new ParseError(
      `the tokenizer must part texts as one of ${Object.keys(PATTERNS).join(', ')} do, got ${show(pre)}`,
    );
  const pattern = PATTERNS[pre];
  const level = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: pattern === undefined };
  const split = { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
  return {
    normalizer: null,
    pre_tokenizer: pattern === undefined ? level : { type: 'Sequence', pretokenizers: [split, level] },
    decoder: level,
    model: { type: 'BPE', ...PLAIN, vocab: vocabulary(tokens), merges: merges.map((pair) => pair.split(' ')) },
  };
}

/** More than any vocabulary has. */
const MOST_MERGES = 2 ** 22;

/** Merges follow from the scores: a pair merges the sooner, the higher the score of what it becomes. */
function sentencePiece({ tokens, scores, special, addSpacePrefix = true }: GgufTokenizer) {
  const vocab = vocabulary(tokens);
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const beginnings = longestBeginnings(tokens);
  const endings = longestBeginnings(tokens.map((token) => [...token].reverse().join('')));
  const merges: { left: string; right: string; score: number }[] = [];
  for (const [id, token] of tokens.entries()) {
    const ends = new Set(chain(endings, id).map((end) => token.length - (tokens[end] as string).length));
    const lefts = chain(beginnings, id).filter((left) => {
      const text = tokens[left] as string;
      return text !== '' && text.length < token.length && ends.has(text.length) && idOf.get(text) === left;
    });
    for (const left of lefts.sort((a, b) => a - b)) {
      const text = tokens[left] as string;
      merges.push({ left: text, right: token.slice(text.length), score: scores?.[id] ?? 0 });
    }
    if (merges.length > MOST_MERGES)
      throw new ParseError(`the tokenizer must have at most ${MOST_MERGES} pairs of tokens that are a token together`);
  }
  merges.sort((a, b) => b.score - a.score);
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: SPACE };
  const decoders = [
    { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    ...(addSpacePrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
  ];
  const model = {
    ...PLAIN,
    type: 'BPE',
    unk_token: special.unknown === undefined ? null : tokens[special.unknown],
    fuse_unk: true,
    byte_fallback: true,
    vocab,
    merges: merges.map(({ left, right }) => [left, right]),
  };
  return {
    normalizer: addSpacePrefix
      ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: SPACE }, spaces] }
      : spaces,
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders },
    model,
  };
}

/** Of each token the longest other one, or an equal one, that it begins with; -1 if there is none. In their order it is among those before. */
function longestBeginnings(tokens: readonly string[]): Int32Array {
  const order = [...tokens.keys()].sort((a, b) => ((tokens[a] as string) < (tokens[b] as string) ? -1 : 1));
  const found = new Int32Array(tokens.length);
  const open: number[] = [];
  for (const id of order) {
    while (open.length > 0 && !(tokens[id] as string).startsWith(tokens[open.at(-1) as number] as string)) open.pop();
    found[id] = open.at(-1) ?? -1;
    open.push(id);
  }
  return found;
}

/** A token's longest, that one's longest, and so on. */
function chain(longest: Int32Array, id: number): number[] {
  const all: number[] = [];
  for (let at = longest[id] as number; at >= 0; at = longest[at] as number) all.push(at);
  return all;
}

const PLAIN = {
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
};

const vocabulary = (tokens: readonly string[]) => Object.fromEntries(tokens.map((token, id) => [token, id]));

/** Puts the tokens that begin and end a text around it. */
function around({ tokens }: GgufTokenizer, first: number | undefined, last: number | undefined) {
  if (first === undefined && last === undefined) return null;
  const part = (id: number | undefined) => (id === undefined ? [] : [{ SpecialToken: { id: tokens[id], type_id: 0 } }]);
  const ids = [first, last].filter((id) => id !== undefined);
  const single = [...part(first), { Sequence: { id: 'A', type_id: 0 } }, ...part(last)];
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: Object.fromEntries(
      ids.map((id) => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }]),
    ),
  };
}
