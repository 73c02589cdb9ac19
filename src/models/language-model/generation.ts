/** Texts that a language model generates, piece by piece. */
import { checkArray, checkBoolean, checkOptions, checkWhole, show } from '../../check';
import { deferred } from '../../deferred';
import { ParameterError, SaccadeError } from '../../errors';
import type { ChatMessage } from './chat-template';
import type { Engine, Opened } from './engine';
import type { AnswerFormat, Matcher } from './grammar';
import { StopWords, TextOfTokens } from './pieces';
import { type Choice, checkSampling, SAMPLING, Sampler, type SamplingOptions } from './sampling';

export interface GenerateOptions extends SamplingOptions {
  /** Default: as many as the context has room for. */
  readonly maxTokens?: number | undefined;
  /** Texts that end the answer and are no part of it. */
  readonly stop?: string | readonly string[] | undefined;
  /** What the answer must be, unless it is cut off; takes the package `@mlc-ai/web-xgrammar`. Default: any text. */
  readonly format?: AnswerFormat | undefined;
  /** Whether tokens that end an answer are like any others; default false. */
  readonly ignoreEnd?: boolean | undefined;
  /** What is done where a prompt or an answer outgrows the context: it is refused or ends (default), or its older half is forgotten. */
  readonly overflow?: 'end' | 'forget' | undefined;
  /** Ends the answer: iteration throws the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const NAMES = ['maxTokens', 'stop', 'format', 'ignoreEnd', 'overflow', 'signal'];

/** A text, its tokens, or a conversation, for which the model must have a chat template. */
export type Prompt = string | readonly number[] | readonly ChatMessage[];

/** Text that is certain, and the tokens since the piece before; the last may have either alone. */
export interface Piece {
  readonly text: string;
  readonly tokens: readonly Choice[];
}

export interface GenerationResult {
  readonly text: string;
  readonly tokens: readonly number[];
  /** Why it stopped: at a token that ends answers, at a stop word, at `maxTokens`, or because the context is full. */
  readonly reason: 'end' | 'stop' | 'length' | 'context';
  readonly stopWord?: string | undefined;
  readonly promptTokens: number;
  /** Tokens of the prompt that were in a cache already. */
  readonly reusedTokens: number;
  /** From the call to the first token, and for all others, in milliseconds. */
  readonly promptMilliseconds: number;
  readonly stepMilliseconds: number;
}

/** What the generation takes of a model. */
export interface Source {
  readonly engine: Engine;
  readonly context: number;
  readonly ends: readonly number[];
  decode(tokens: readonly number[]): string;
  /** Where the answer has a format. */
  readonly matcher: (() => Promise<Matcher>) | undefined;
  /** Where the first result is that is not finite, after tokens whose logits are not. */
  faultAfter(tokens: readonly number[]): Promise<string>;
}

/** An answer under way: its pieces by iteration, once, and what it was by `result` after them. */
export class Generation implements AsyncIterable<Piece> {
  #pieces: AsyncGenerator<Piece, GenerationResult> | undefined;
  #result: GenerationResult | undefined;

  constructor(pieces: AsyncGenerator<Piece, GenerationResult>) {
    this.#pieces = pieces;
  }

  /** What it was, once all pieces were taken. */
  get result(): GenerationResult {
    if (!this.#result) throw new SaccadeError('the answer has not ended: take all its pieces first, or await finish()');
    return this.#result;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece> {
    const pieces = this.#pieces;
    if (!pieces) throw new SaccadeError('the pieces of an answer can be taken once');
    this.#pieces = undefined;
    this.#result = yield* pieces;
  }

  /** All that remains, at once. */
  async finish(): Promise<GenerationResult> {
    if (this.#result) return this.#result;
    for await (const _ of this);
    return this.result;
  }
}

/** @throws {ParameterError} options that are unknown or out of range */
export function checkGeneration(options: GenerateOptions, vocabulary: number): void {
  checkOptions('generate', options, [...SAMPLING, ...NAMES]);
  checkSampling(options, vocabulary);
  const { maxTokens, stop, ignoreEnd, overflow, signal } = options;
  if (maxTokens !== undefined) checkWhole('maxTokens', maxTokens, 1);
  checkBoolean('ignoreEnd', ignoreEnd);
  if (overflow !== undefined && overflow !== 'end' && overflow !== 'forget')
    throw new ParameterError(`overflow must be end or forget, got ${show(overflow)}`);
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new ParameterError(`signal must be an AbortSignal, got ${show(signal)}`);
  for (const [at, word] of stopWords(stop).entries())
    if (typeof word !== 'string' || word === '')
      throw new ParameterError(`stop[${at}] must be a text that is not empty, got ${show(word)}`);
}

function stopWords(stop: GenerateOptions['stop']): readonly string[] {
  if (stop === undefined) return [];
  if (typeof stop === 'string') return [stop];
  checkArray('stop', stop);
  return stop;
}

/** The pieces of an answer to tokens that `begin` gives, checked. */
export async function* piecesOf(
  source: Source,
  begin: () => Promise<readonly number[]>,
  options: GenerateOptions,
): AsyncGenerator<Piece, GenerationResult> {
  const { engine, context, ends } = source;
  const { maxTokens = Number.POSITIVE_INFINITY, ignoreEnd = false, overflow = 'end', signal } = options;
  const began = performance.now();
  const prompt = (await unlessAborted(begin(), signal)) as readonly number[];
  const all = [...prompt];
  const sampler = new Sampler(options, prompt);
  const text = new TextOfTokens((tokens) => source.decode(tokens));
  const stops = new StopWords(stopWords(options.stop));
  const answer = new Answer();
  const matching = source.matcher?.();
  // What it rejects with is told where it is awaited.
  matching?.catch(() => {});
  let opened: Opened | undefined;
  let reusedTokens = 0;
  try {
    opened = await engine.open(fitting(all, context), signal);
    reusedTokens = opened.reused;
    const matcher = await unlessAborted(matching, signal);
    let masking = matcher?.allowed();
    masking?.catch(() => {});
    for (;;) {
      signal?.throwIfAborted();
      const allowed = await unlessAborted(masking, signal);
      if (allowed?.every((bits) => bits === 0))
        throw new SaccadeError('no token of the vocabulary continues the answer as its format says');
      const choice = sampler.choose(opened.logits, all, allowed);
      if (!choice) throw new SaccadeError(await source.faultAfter(all));
      answer.timed();
      const { token } = choice;
      const isComplete = await unlessAborted(matcher?.accept(token), signal);
      const isEnd = !ignoreEnd && ends.includes(token);
      all.push(token);
      const { text: added, word } = isEnd ? { text: '' } : stops.push(text.push(token));
      const piece = answer.with(choice, added);
      if (piece) yield piece;
      answer.reason =
        isEnd || (word === undefined && isComplete)
          ? 'end'
          : word !== undefined
            ? 'stop'
            : answer.tokens.length >= maxTokens
              ? 'length'
              : undefined;
      answer.stopWord = word;
      if (answer.reason) break;
      // While the step is computed.
      masking = matcher?.allowed();
      masking?.catch(() => {});
      if (opened.row.tokens.length >= context) {
        if (overflow === 'end') {
          answer.reason = 'context';
          break;
        }
        engine.close(opened.row);
        opened = await engine.open(fitting(all, context), signal);
      } else opened = { ...opened, logits: await engine.step(opened.row, token, signal) };
    }
  } finally {
    matching?.then((matcher) => matcher.dispose()).catch(() => {});
    if (opened) engine.close(opened.row);
  }
  const rest = answer.reason === 'stop' ? '' : stops.push(text.flush()).text + stops.flush();
  const last = answer.rest(rest);
  if (last) yield last;
  return answer.result({ promptTokens: prompt.length, reusedTokens, began });
}

/** What is awaited, or the signal's reason once it is aborted. */
async function unlessAborted<T>(
  awaited: Promise<T> | undefined,
  signal: AbortSignal | undefined,
): Promise<T | undefined> {
  if (!awaited || !signal) return await awaited;
  signal.throwIfAborted();
  const { promise, reject } = deferred<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([awaited, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** The tokens, or the younger half of a context of them where these are too many. */
const fitting = (tokens: readonly number[], context: number) =>
  tokens.length <= context ? tokens : tokens.slice(-Math.ceil(context / 2));

/** What was answered so far. */
class Answer {
  readonly tokens: number[] = [];
  reason: GenerationResult['reason'] | undefined;
  stopWord: string | undefined;
  #text = '';
  #untold: Choice[] = [];
  #first = 0;
  #last = 0;

  timed(): void {
    this.#last = performance.now();
    this.#first ||= this.#last;
  }

  /** A piece, if there is text to tell. */
  with(choice: Choice, text: string): Piece | undefined {
    this.tokens.push(choice.token);
    this.#untold.push(choice);
    this.#text += text;
    return text === '' ? undefined : this.#piece(text);
  }

  rest(text: string): Piece | undefined {
    this.#text += text;
    return text === '' && this.#untold.length === 0 ? undefined : this.#piece(text);
  }

  result({ promptTokens, reusedTokens, began }: Readonly<Record<'promptTokens' | 'reusedTokens' | 'began', number>>) {
    return {
      text: this.#text,
      tokens: this.tokens,
      reason: this.reason as GenerationResult['reason'],
      stopWord: this.stopWord,
      promptTokens,
      reusedTokens,
      promptMilliseconds: this.#first - began,
      stepMilliseconds: this.#last - this.#first,
    };
  }

  #piece(text: string): Piece {
    const piece = { text, tokens: this.#untold };
    this.#untold = [];
    return piece;
  }
}
