/** The tokenizer of a GGUF file. */
import { checkRecord, show } from '../../check';
import { ParseError } from '../../errors';
import type { Metadata } from './parse';

/** What tokens are, by the codes of `types`. */
export const TOKEN_TYPES = {
  1: 'normal',
  2: 'unknown',
  3: 'control',
  4: 'user-defined',
  5: 'unused',
  6: 'byte',
} as const;

export interface GgufTokenizer {
  /** `llama` (SentencePiece), `gpt2` (byte-level BPE), `bert` (WordPiece), `t5` (unigrams), ... */
  readonly model: string;
  /** How text is parted before BPE merges: `llama-bpe`, `qwen2`, ... */
  readonly pre?: string | undefined;
  /** By their ids. */
  readonly tokens: readonly string[];
  /** One for each token: the higher the sooner it is merged or chosen. */
  readonly scores?: Float32Array | undefined;
  /** One for each token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
  readonly types?: ArrayLike<number> | undefined;
  /** Two tokens with a space between, the sooner the earlier. */
  readonly merges?: readonly string[] | undefined;
  /** Ids by their roles in the file: bos, eos, eot, unknown, padding, separator, cls, mask, ... */
  readonly special: Readonly<Record<string, number>>;
  readonly addBos?: boolean | undefined;
  readonly addEos?: boolean | undefined;
  readonly addSpacePrefix?: boolean | undefined;
  /** In Jinja. */
  readonly chatTemplate?: string | undefined;
  /** `tokenizer.json` of Hugging Face. */
  readonly json?: string | undefined;
}

const PREFIX = 'tokenizer.ggml.';
const SPECIAL = /^tokenizer\.ggml\.(\w+)_token_id$/;
/** As files spell it. */
const SPELLED: Readonly<Record<string, string>> = { seperator: 'separator' };

/**
 * The tokenizer in the metadata of a GGUF file; undefined if it has none.
 *
 * @throws {ParseError} a field of another type or length, an id beyond the tokens, by its key
 */
export function ggufTokenizer(metadata: Metadata): GgufTokenizer | undefined {
  checkRecord('metadata', metadata);
  const model = field(metadata, `${PREFIX}model`, 'a text', isText);
  const tokens = field(metadata, `${PREFIX}tokens`, 'a list of texts', isTexts);
  if (model === undefined || tokens === undefined) return undefined;
  const numbers = <T>(key: string, kinds: readonly string[]) =>
    field<T>(metadata, PREFIX + key, `${kinds[0]} of ${tokens.length}`, (value) => {
      const list = value as { readonly length?: number } | null;
      return list?.length === tokens.length && kinds.includes(Object.prototype.toString.call(list).slice(8, -1));
    });
  const flag = (key: string) =>
    field<boolean>(metadata, PREFIX + key, 'true or false', (value) => typeof value === 'boolean');
  return {
    model,
    tokens,
    pre: field(metadata, `${PREFIX}pre`, 'a text', isText),
    scores: numbers<Float32Array>('scores', ['Float32Array']),
    types: numbers<ArrayLike<number>>('token_type', ['Int32Array', 'Uint32Array']),
    merges: field(metadata, `${PREFIX}merges`, 'a list of texts', isTexts),
    special: specialOf(metadata, tokens.length),
    addBos: flag('add_bos_token'),
    addEos: flag('add_eos_token'),
    addSpacePrefix: flag('add_space_prefix'),
    chatTemplate: field(metadata, 'tokenizer.chat_template', 'a text', isText),
    json: field(metadata, 'tokenizer.huggingface.json', 'a text', isText),
  };
}

function specialOf(metadata: Metadata, tokens: number): Record<string, number> {
  const special: [string, number][] = [];
  for (const key of Object.keys(metadata)) {
    const [, role] = SPECIAL.exec(key) ?? [];
    if (role === undefined) continue;
    const isId = (value: unknown) => Number.isInteger(value) && (value as number) >= 0 && (value as number) < tokens;
    special.push([SPELLED[role] ?? role, field<number>(metadata, key, `one of ${tokens} tokens`, isId) as number]);
  }
  return Object.fromEntries(special);
}

function field<T>(
  metadata: Metadata,
  key: string,
  expected: string,
  fits: ((value: unknown) => value is T) | ((value: unknown) => boolean),
): T | undefined {
  const value = metadata[key];
  if (value === undefined || fits(value)) return value as T | undefined;
  throw new ParseError(`${key} must be ${expected}, got ${show(value)}`);
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isTexts = (value: unknown): value is readonly string[] => Array.isArray(value) && value.every(isText);
