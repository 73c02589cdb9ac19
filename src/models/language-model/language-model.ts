/** A decoder with its parameters and its tokenizer: texts in, texts out. */
import { checkArray, checkChoice, checkOptions, checkWhole, show } from '../../check';
import { DisposedError, ParameterError } from '../../errors';
import type { Parameters } from '../../nn/module';
import type { CacheDType } from '../../ops/cache/layout';
import { STORAGE } from '../../ops/cache/params';
import { checkControl } from '../../ops/check';
import { sum } from '../../ops/reduce';
import type { Control } from '../../runtime/backend';
import { Runtime } from '../../runtime/runtime';
import { disposeKey, type Tensor } from '../../tensor/tensor';
import type { Decoder } from '../decoder';
import { insertLandmarks, insertTargets, NO_TARGET } from '../decoder/landmarks';
import { type ChatMessage, checkMessages } from './chat-template';
import { Engine } from './engine';
import { checkGeneration, type GenerateOptions, Generation, type Prompt, piecesOf } from './generation';
import { Grammars, textOf } from './grammar';
import type { LanguageTokenizer } from './tokenizer';

export interface LanguageModelOptions {
  /** Without one, prompts are tokens. */
  readonly tokenizer?: LanguageTokenizer | undefined;
  /** Tokens that end an answer; default: as the tokenizer says. */
  readonly ends?: readonly number[] | undefined;
  /** The most tokens of a prompt and its answer. Default 4096, or as many as the model has positions for. */
  readonly context?: number | undefined;
  /** How keys and values are stored. Default f32. */
  readonly cache?: CacheDType | undefined;
  /** Answers that are computed side by side, at most; others wait for their turn. Default 8. */
  readonly rows?: number | undefined;
  /** Tokens of a prompt that are read at a time, which bounds the memory that it takes. Default 512. */
  readonly chunk?: number | undefined;
  /** Caches of finished answers that are kept, so that a prompt that begins like one of them goes on from there. Default 4. */
  readonly kept?: number | undefined;
}

export const LANGUAGE_MODEL = ['tokenizer', 'ends', 'context', 'cache', 'rows', 'chunk', 'kept'];
const USUAL_CONTEXT = 4096;

export interface PerplexityOptions extends Control {
  /**
   * Tokens that are read at a time, as a prompt is, each going on from a cache of those before: what methods choose from a cache
   * counts then. Default: all of a piece at once, without a cache.
   */
  readonly chunk?: number | undefined;
}

export interface Perplexity {
  /** Those that were predicted. */
  readonly tokens: number;
  readonly loss: number;
  readonly perplexity: number;
}

/** Generates texts; made by `loadDecoder` and `languageModel`. */
export class LanguageModel {
  readonly tokenizer: LanguageTokenizer | undefined;
  readonly ends: readonly number[];
  readonly context: number;
  readonly #engine: Engine;
  readonly #cacheType: CacheDType | undefined;
  #grammars: Grammars | undefined;
  #disposed = false;

  /** Made by `languageModel`. */
  constructor(
    readonly runtime: Runtime,
    readonly decoder: Decoder,
    readonly parameters: Parameters,
    options: LanguageModelOptions,
    grammars?: Grammars,
  ) {
    if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
    if (typeof decoder?.step !== 'function' || typeof decoder.check !== 'function')
      throw new ParameterError(`decoder must be made by createDecoder, got ${show(decoder)}`);
    decoder.check(parameters);
    const {
      tokenizer,
      context = Math.min(USUAL_CONTEXT, decoder.context),
      cache,
      rows = 8,
      chunk = 512,
      kept = 4,
    } = options;
    const { ends = tokenizer?.ends ?? [] } = options;
    if (tokenizer !== undefined && typeof tokenizer?.encode !== 'function')
      throw new ParameterError(`tokenizer must be made by languageTokenizer, got ${show(tokenizer)}`);
    checkWhole('context', context, 2, decoder.context);
    for (const [name, value] of Object.entries({ rows, chunk })) checkWhole(name, value, 1);
    checkWhole('kept', kept, 0);
    checkChoice('cache', cache, STORAGE);
    checkArray('ends', ends);
    for (const [at, end] of ends.entries()) checkWhole(`ends[${at}]`, end, 0, decoder.vocabulary - 1);
    if (tokenizer && tokenizer.size > decoder.vocabulary)
      throw new ParameterError(
        `tokenizer has ${tokenizer.size} tokens, more than the vocabulary of the model, ${decoder.vocabulary}`,
      );
    const { landmarks } = decoder;
    if (tokenizer && landmarks && landmarks.token < tokenizer.size)
      throw new ParameterError(
        `the vocabulary has no room for a landmark: token ${landmarks.token} is one of the ${tokenizer.size} of the tokenizer; train with landmarks first (saccade train), or say landmark_token_id`,
      );
    this.tokenizer = tokenizer;
    this.ends = ends;
    this.context = context;
    this.#cacheType = cache;
    this.#grammars = grammars;
    this.#engine = new Engine(runtime, decoder, parameters, { capacity: context, dtype: cache, rows, chunk, kept });
  }

  /** Bytes of keys and values, of answers under way and of those that are kept. */
  get cacheBytes(): number {
    this.#assertUsable('cacheBytes');
    return this.#engine.bytes;
  }

  /**
   * An answer, piece by piece: `for await (const { text } of model.generate(prompt))`. Several at once are computed in steps of
   * all; one that is no longer iterated costs nothing.
   *
   * @throws {ParameterError} a prompt that is empty, too long, or that needs a tokenizer or a template; options out of range. What a
   * template refuses, and what is wrong with the tokens of a conversation, is told by iteration
   */
  generate(prompt: Prompt, options: GenerateOptions = {}): Generation {
    this.#assertUsable('generate()');
    const { decoder, context, ends, tokenizer } = this;
    checkGeneration(options, decoder.vocabulary);
    const format = options.format === undefined ? undefined : textOf(options.format);
    const begin = this.#begin(prompt, options.overflow !== 'forget');
    if (format) this.#grammars ??= new Grammars(this.#tokenizer('given with a format'), decoder.vocabulary, ends);
    const grammars = this.#grammars;
    const source = {
      engine: this.#engine,
      context,
      ends,
      decode: (tokens: readonly number[]) => tokenizer?.decode(tokens) ?? '',
      matcher: format && grammars && (() => grammars.matcher(format)),
      faultAfter: (tokens: readonly number[]) => faultAfter(this.runtime, decoder, this.parameters, tokens),
    };
    return new Generation(piecesOf(source, begin, options));
  }

  /** Checks a prompt, and gives its tokens: a conversation is put into the model's template before, beside this thread. */
  #begin(prompt: Prompt, mustFit: boolean): () => Promise<readonly number[]> {
    const checked = (tokens: readonly number[]) => {
      if (mustFit) this.#checkFits(tokens);
      return tokens;
    };
    if (typeof prompt === 'string' || typeof prompt?.[0] !== 'object') {
      const tokens = checked(this.tokensOf(prompt as string | readonly number[]));
      return async () => tokens;
    }
    checkArray('prompt', prompt);
    const messages = prompt as readonly ChatMessage[];
    const { template, encode } = this.#tokenizer('a conversation');
    checkMessages(messages);
    if (!template) throw new ParameterError('prompt is a conversation, for which the tokenizer has no chat template');
    return async () => checked(this.tokensOf(encode(await template.render(messages), { isWhole: false })));
  }

  /** The tokens of a prompt: a text may get the token that begins one. */
  tokensOf(prompt: string | readonly number[]): readonly number[] {
    const tokens = typeof prompt === 'string' ? this.#tokenizer('a text').encode(prompt) : prompt;
    checkArray('prompt', tokens);
    if (tokens.length === 0) throw new ParameterError('prompt must have a token at least, got none');
    for (const [at, token] of tokens.entries()) checkWhole(`prompt[${at}]`, token, 0, this.decoder.vocabulary - 1);
    return tokens;
  }

  /**
   * How well the model predicts a text, or tokens, in pieces of `context` tokens, each without those before it: the mean
   * negative logarithm of the probability of each token but the first, and its exponential.
   *
   * @throws {ParameterError} fewer than two tokens
   */
  async perplexity(text: string | readonly number[], options: PerplexityOptions = {}): Promise<Perplexity> {
    this.#assertUsable('perplexity()');
    checkOptions('perplexity', options, ['chunk', 'signal', 'onProgress']);
    const { chunk, ...control } = options;
    checkControl(control);
    if (chunk !== undefined) checkWhole('chunk', chunk, 1);
    const tokens = text.length === 0 ? [] : this.tokensOf(text);
    const count = tokens.length - 1;
    if (count < 1) throw new ParameterError(`text must have two tokens at least, got ${tokens.length}`);
    const { context } = this;
    let sum = 0;
    for (let start = 0; start < count; start += context) {
      const piece = tokens.slice(start, Math.min(start + context, count) + 1);
      const progress = (share: number) => control.onProgress?.((start + share * (piece.length - 1)) / count);
      sum += await (chunk === undefined
        ? this.#lossOf(piece, { signal: control.signal })
        : this.#lossThroughCache(piece, chunk, { signal: control.signal, onProgress: progress }));
      progress(1);
    }
    return { tokens: count, loss: sum / count, perplexity: Math.exp(sum / count) };
  }

  /** The sum of the losses of all tokens but the first, each from those before it. */
  async #lossOf(piece: readonly number[], { signal }: Control): Promise<number> {
    const { runtime, decoder, parameters } = this;
    signal?.throwIfAborted();
    const part = insertTargets(piece.slice(0, -1), piece.slice(1), decoder.landmarks);
    const row = (of: readonly number[]) => runtime.tensor(of, [1, of.length], 'i32');
    using loss = runtime.scope(() =>
      decoder.loss(parameters, row(part.tokens), row(part.targets), { ignore: NO_TARGET, signal }),
    );
    return ((await loss.read())[0] as number) * (piece.length - 1);
  }

  /** The same, of tokens that are read as a prompt is, `chunk` at a time. */
  async #lossThroughCache(piece: readonly number[], chunk: number, { signal, onProgress }: Control): Promise<number> {
    const { runtime, decoder, parameters } = this;
    const count = piece.length - 1;
    using cache = decoder.cache(runtime, { capacity: count, dtype: this.#cacheType });
    const row = (of: readonly number[]) => runtime.tensor(of, [1, of.length], 'i32');
    let sum = 0;
    for (let at = 0; at < count; at += chunk) {
      signal?.throwIfAborted();
      const end = Math.min(at + chunk, count);
      using loss = runtime.scope(() =>
        decoder.loss(parameters, row(piece.slice(at, end)), row(piece.slice(at + 1, end + 1)), { cache, signal }),
      );
      sum += ((await loss.read())[0] as number) * (end - at);
      onProgress?.(end / count);
    }
    return sum;
  }

  /**
   * The mean over a text's tokens of what the logits are products of, of length 1: [width].
   *
   * @throws {ParameterError} a text that is longer than the context
   */
  async embed(text: string | readonly number[], { signal }: Pick<Control, 'signal'> = {}): Promise<Float32Array> {
    this.#assertUsable('embed()');
    const tokens = this.tokensOf(text);
    this.#checkFits(tokens);
    const { runtime, decoder, parameters } = this;
    using mean = runtime.scope(() => {
      const row = rowOf(runtime, decoder, tokens);
      return sum(decoder.hidden(parameters, row, { signal }), { axes: [0, 1] });
    });
    const values = await mean.read();
    const length = Math.hypot(...values);
    return values.map((value) => value / length);
  }

  #checkFits(tokens: readonly number[]): void {
    if (tokens.length > this.context)
      throw new ParameterError(
        `prompt must have at most ${this.context} tokens, the context, got ${tokens.length}: shorten it, or ask for overflow 'forget'`,
      );
  }

  #tokenizer(what: string): LanguageTokenizer {
    if (this.tokenizer) return this.tokenizer;
    throw new ParameterError(`prompt is ${what}, but the model has no tokenizer: pass tokens`);
  }

  /** Frees caches and parameters, and ends answers under way. Disposing twice is harmless. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#engine.dispose();
    this.#grammars?.dispose();
    for (const tensor of Object.values(this.parameters)) tensor.dispose();
  }

  [disposeKey](): void {
    this.dispose();
  }

  #assertUsable(use: string): void {
    if (this.#disposed) throw new DisposedError(`${use}: the language model was disposed`);
    this.runtime.assertUsable(use);
  }
}

/**
 * A language model of a decoder and its parameters, which it disposes of with itself.
 *
 * @throws {ParameterError} options that do not fit the decoder
 */
export function languageModel(
  runtime: Runtime,
  decoder: Decoder,
  parameters: Parameters,
  options: LanguageModelOptions = {},
): LanguageModel {
  checkOptions('languageModel', options, LANGUAGE_MODEL);
  return new LanguageModel(runtime, decoder, parameters, options);
}

/** Says in which layer results first were not finite. */
async function faultAfter(
  runtime: Runtime,
  decoder: Decoder,
  parameters: Parameters,
  tokens: readonly number[],
): Promise<string> {
  const sums: Promise<Float32Array>[] = [];
  runtime.scope(() => {
    const row = rowOf(runtime, decoder, tokens);
    decoder.forward(parameters, row, { onLayer: (h) => void sums.push(sum(h).read()) });
  });
  const layers = await Promise.all(sums);
  const at = layers.findIndex(([value]) => !Number.isFinite(value));
  const where = at < 0 ? 'the head, as what the layers hand on is finite' : `layer ${at} of ${layers.length}`;
  return `logits hold numbers that are not finite: the first results that are not come from ${where}`;
}

/** Tokens, with landmarks where the decoder wants them: [1, n]. */
function rowOf(runtime: Runtime, { landmarks }: Decoder, tokens: readonly number[]): Tensor {
  const all = landmarks ? insertLandmarks(tokens, landmarks) : tokens;
  return runtime.tensor(all, [1, all.length], 'i32');
}
