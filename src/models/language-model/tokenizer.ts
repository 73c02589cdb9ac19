/** Tokenizers of language models: texts as tokens and back, with the special ones that delimit texts and turns. */
import { Tokenizer as Encoder } from '@huggingface/tokenizers';
import { checkKnown, checkRecord, isRecord, show } from '../../check';
import { ParameterError, ParseError } from '../../errors';
import { type ChatTemplate, chatTemplate } from './chat-template';
import { faultOfPattern } from './patterns';

export interface LanguageTokenizer {
  /** How many tokens there are, special ones among them. */
  readonly size: number;
  /** The tokens that end an answer, as the tokenizer's configuration says. */
  readonly ends: readonly number[];
  /** Where it has one. */
  readonly template?: ChatTemplate | undefined;
  /** With `isWhole` (default true) as the beginning of a sequence, which may add tokens such as that of its start. */
  encode(text: string, options?: { readonly isWhole?: boolean | undefined }): number[];
  /** Special tokens are left out unless `special` is true; incomplete characters become U+FFFD. */
  decode(tokens: readonly number[], options?: { readonly special?: boolean | undefined }): string;
  /** The id of a token, such as `<|im_end|>`. */
  idOf(token: string): number | undefined;
  /** All tokens by their ids, special ones as empty texts, and how they stand for bytes. */
  vocabulary(): Vocabulary;
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly kind: 'raw' | 'byte_level' | 'byte_fallback';
}

/** A `tokenizer.json`, and of a `tokenizer_config.json` what is there. */
export interface TokenizerFiles {
  readonly tokenizer: Readonly<Record<string, unknown>>;
  readonly config?: Readonly<Record<string, unknown>> | undefined;
  /** `chat_template.jinja`, where it is a file of its own. */
  readonly template?: string | undefined;
}

/**
 * The tokenizer of a model as Hugging Face's libraries write it.
 *
 * @throws {ParameterError | ParseError} files that are none
 */
export function languageTokenizer(files: TokenizerFiles): LanguageTokenizer {
  checkKnown('files', files, ['tokenizer', 'config', 'template'], (name) => `files have no '${name}'`);
  const { tokenizer, config = {}, template } = files;
  checkRecord('tokenizer', tokenizer);
  checkRecord('config of the tokenizer', config);
  if (template !== undefined && typeof template !== 'string')
    throw new ParameterError(`template must be a string, got ${show(template)}`);
  const encoder = encoderOf(tokenizer, config);
  const special = specialTokens(config);
  const source = template ?? templateIn(config);
  const idOf = (token: string) => encoder.token_to_id(token);
  const ends = [special.eos_token, special.eot_token].flatMap((token) => (token && idOf(token)) ?? []);
  return {
    size: encoder.get_vocab(true).size,
    ends: ends as number[],
    template: source === undefined ? undefined : chatTemplate(source, special),
    encode(text, { isWhole = true } = {}) {
      if (typeof text !== 'string') throw new ParameterError(`text must be a string, got ${show(text)}`);
      return encoder.encode(text, { add_special_tokens: isWhole }).ids;
    },
    decode(tokens, { special = false } = {}) {
      if (tokens.length === 0) return '';
      return encoder.decode([...tokens], { skip_special_tokens: !special, clean_up_tokenization_spaces: false });
    },
    idOf,
    vocabulary: () => vocabularyOf(encoder, tokenizer),
  };
}

function vocabularyOf(encoder: Encoder, { added_tokens: added, decoder }: TokenizerFiles['tokenizer']): Vocabulary {
  const ids = encoder.get_vocab(true);
  let last = -1;
  for (const id of ids.values()) last = Math.max(last, id);
  const tokens = new Array<string>(1 + last).fill('');
  for (const [token, id] of ids) tokens[id] = token;
  for (const each of Array.isArray(added) ? added : []) if (each.special) tokens[each.id] = '';
  const has = (type: string) => JSON.stringify(decoder ?? null).includes(`"type":"${type}"`);
  return { tokens, kind: has('ByteLevel') ? 'byte_level' : has('ByteFallback') ? 'byte_fallback' : 'raw' };
}

/** More ids than any vocabulary has, and characters of a pattern. */
const [MOST_IDS, MOST_PATTERN] = [2 ** 22, 10_000];

/** Refuses ids that would make lists endless, and patterns that could take for ever. */
function checkBounds({ model, added_tokens: added, ...parts }: TokenizerFiles['tokenizer']): void {
  const vocab = isRecord(model) && isRecord(model.vocab) ? Object.entries(model.vocab) : [];
  const more = Array.isArray(added) ? added.filter(isRecord).map(({ content, id }) => [content, id] as const) : [];
  for (const [token, id] of [...vocab, ...more])
    if (!(Number.isInteger(id) && (id as number) >= 0 && (id as number) < MOST_IDS))
      throw new ParseError(
        `the id of token ${show(token)} must be an integer from 0 to ${MOST_IDS - 1}, got ${show(id)}`,
      );
  JSON.stringify(parts, (key, value) => {
    if (key !== 'Regex' || typeof value !== 'string') return value;
    const fault = value.length > MOST_PATTERN ? `has more than ${MOST_PATTERN} characters` : faultOfPattern(value);
    if (fault) throw new ParseError(`the pattern ${show(value)} of the tokenizer ${fault}`);
    return value;
  });
}

function encoderOf(tokenizer: TokenizerFiles['tokenizer'], config: object): Encoder {
  checkBounds(tokenizer);
  try {
    return new Encoder(tokenizer, config);
  } catch (error) {
    throw new ParseError(`the tokenizer cannot be used: ${(error as Error).message}`);
  }
}

/** `bos_token`, `eos_token` and their like: texts, or objects with their content. */
function specialTokens(config: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> {
  const found = Object.entries(config).flatMap(([name, value]) => {
    const text = isRecord(value) ? value.content : value;
    return name.endsWith('_token') && typeof text === 'string' ? [[name, text] as const] : [];
  });
  return Object.fromEntries(found);
}

/** One template, or the default one of several. */
function templateIn({ chat_template: given }: Readonly<Record<string, unknown>>): string | undefined {
  if (given === undefined || given === null || typeof given === 'string') return given ?? undefined;
  const named = Array.isArray(given) ? given.filter(isRecord) : [];
  const usual = named.find(({ name }) => name === 'default');
  if (typeof usual?.template === 'string') return usual.template;
  throw new ParseError(`chat_template must be a string, or a list with one called default, got ${show(given)}`);
}
