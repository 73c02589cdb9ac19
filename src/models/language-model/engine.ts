/** Sequences that a decoder continues side by side: prompts in chunks, and one step for all that wait for their next token. */
import { deferred } from '../../deferred';
import { DisposedError, ParameterError } from '../../errors';
import { nextTurn } from '../../next-turn';
import type { Parameters } from '../../nn/module';
import type { Runtime } from '../../runtime/runtime';
import type { Decoder, DecoderCache, DecoderCacheOptions } from '../decoder';

export interface EngineOptions extends Pick<DecoderCacheOptions, 'capacity' | 'dtype'> {
  /** Sequences in a step at most. */
  readonly rows: number;
  /** Tokens of a prompt in a step at most, which bounds its memory. */
  readonly chunk: number;
  /** Finished sequences whose caches are kept, for prompts that begin as they do. */
  readonly kept: number;
}

/** A sequence and the cache of its tokens, which it has alone while it is in no batch. */
class Row {
  cache: DecoderCache | undefined;

  constructor(
    readonly tokens: number[],
    cache: DecoderCache,
  ) {
    this.cache = cache;
  }
}

export type { Row };

/** The logits of the token behind the last, and how many tokens of the prompt were in a cache already. */
export interface Opened {
  readonly row: Row;
  readonly logits: Float32Array;
  readonly reused: number;
}

interface Waiting {
  readonly row: Row;
  readonly token: number;
  readonly signal: AbortSignal | undefined;
  resolve(logits: Float32Array): void;
  reject(error: unknown): void;
}

interface Prompt {
  readonly tokens: readonly number[];
  readonly signal: AbortSignal | undefined;
  resolve(opened: Opened): void;
  reject(error: unknown): void;
}

export class Engine {
  /** Empty; all others are its forks. */
  readonly #root: DecoderCache;
  #prompts: Prompt[] = [];
  #waiting: Waiting[] = [];
  #batch: { readonly cache: DecoderCache; readonly rows: readonly Row[] } | undefined;
  /** The last used at the end. */
  #idle: Row[] = [];
  #isRunning = false;
  #disposed = false;

  constructor(
    private readonly runtime: Runtime,
    private readonly decoder: Decoder,
    private readonly parameters: Parameters,
    private readonly options: EngineOptions,
  ) {
    const { capacity, dtype } = options;
    this.#root = decoder.cache(runtime, { rows: 1, capacity, dtype });
  }

  /** Bytes of all caches. */
  get bytes(): number {
    return this.#root.bytes;
  }

  /** A sequence that begins with these tokens, one at least. */
  open(tokens: readonly number[], signal: AbortSignal | undefined): Promise<Opened> {
    return this.#enqueue((resolve, reject) => this.#prompts.push({ tokens, signal, resolve, reject }));
  }

  /** The logits behind a further token of a sequence. */
  step(row: Row, token: number, signal: AbortSignal | undefined): Promise<Float32Array> {
    return this.#enqueue((resolve, reject) => this.#waiting.push({ row, token, signal, resolve, reject }));
  }

  /** Keeps what a sequence has in its cache for prompts that begin alike. */
  close(row: Row): void {
    if (this.#disposed) return;
    this.#take(row);
    this.#idle.push(row);
    for (const { cache } of this.#idle.splice(0, Math.max(0, this.#idle.length - this.options.kept))) cache?.dispose();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    const error = new DisposedError('the language model was disposed');
    for (const { reject } of [...this.#prompts.splice(0), ...this.#waiting.splice(0)]) reject(error);
    this.#batch?.cache.dispose();
    for (const { cache } of this.#idle.splice(0)) cache?.dispose();
    this.#root.dispose();
  }

  #enqueue<T>(add: (resolve: (value: T) => void, reject: (error: unknown) => void) => void): Promise<T> {
    if (this.#disposed) throw new DisposedError('the language model was disposed');
    const { promise, resolve, reject } = deferred<T>();
    add(resolve, reject);
    void this.#run();
    return promise;
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#prompts.length + this.#waiting.length > 0) {
      // Others that were answered by the last step ask for their next within this turn.
      await nextTurn();
      await this.#readPrompt();
      await this.#stepAll();
    }
    this.#isRunning = false;
  }

  async #readPrompt(): Promise<void> {
    const prompt = this.#prompts.shift();
    if (!prompt) return;
    const { tokens, signal, resolve, reject } = prompt;
    try {
      signal?.throwIfAborted();
      const row = this.#begun(tokens);
      const reused = row.tokens.length;
      try {
        let logits: Float32Array | undefined;
        while (row.tokens.length < tokens.length) {
          const next = tokens.slice(row.tokens.length, row.tokens.length + this.options.chunk);
          logits = await this.#advance(row.cache as DecoderCache, [next], signal);
          row.tokens.push(...next);
          // Answers under way go on between the chunks of a long prompt.
          if (row.tokens.length < tokens.length) await this.#stepAll();
        }
        resolve({ row, logits: logits as Float32Array, reused });
      } catch (error) {
        this.close(row);
        throw error;
      }
    } catch (error) {
      reject(error);
    }
  }

  /** A sequence with the longest beginning of the tokens that a cache holds; one token is left, for its logits. */
  #begun(tokens: readonly number[]): Row {
    const found = this.#idle
      .map((row) => ({ row, common: Math.min(commonLength(row.tokens, tokens), tokens.length - 1) }))
      .filter(({ common }) => common > 0)
      .sort((a, b) => b.common - a.common);
    for (const { row, common } of found) {
      const cache = (row.cache as DecoderCache).fork([0]);
      try {
        cache.truncate(common);
        this.#idle = [...this.#idle.filter((each) => each !== row), row];
        return new Row(tokens.slice(0, common), cache);
      } catch (error) {
        // States cannot go back, and windows have lost what is before them.
        cache.dispose();
        if (!(error instanceof ParameterError)) throw error;
      }
    }
    return new Row([], this.#root.fork([0]));
  }

  async #stepAll(): Promise<void> {
    const aborted = this.#waiting.filter(({ signal }) => signal?.aborted);
    for (const { signal, reject } of aborted) reject(signal?.reason);
    const waiting = this.#waiting.filter(({ signal }) => !signal?.aborted);
    const chosen = waiting.slice(0, this.options.rows);
    this.#waiting = waiting.slice(this.options.rows);
    if (chosen.length === 0) return;
    try {
      const rows = chosen.map(({ row }) => row);
      const cache = this.#batchOf(rows);
      const order = (this.#batch as { rows: readonly Row[] }).rows.map((row) => rows.indexOf(row));
      const tokens = order.map((at) => [(chosen[at] as Waiting).token]);
      const logits = await this.#advance(cache, tokens, undefined);
      const vocabulary = logits.length / order.length;
      for (const [at, index] of order.entries()) {
        const { row, token, resolve } = chosen[index] as Waiting;
        row.tokens.push(token);
        resolve(logits.subarray(at * vocabulary, (at + 1) * vocabulary));
      }
    } catch (error) {
      for (const { reject } of chosen) reject(error);
    }
  }

  /** The cache of exactly these sequences, in the order of `#batch`. */
  #batchOf(rows: readonly Row[]): DecoderCache {
    const { rows: present = [] } = this.#batch ?? {};
    for (const row of present) if (!rows.includes(row)) this.#take(row);
    const added = rows.filter(({ cache }) => cache);
    if (added.length > 0) {
      const [first, ...others] = [
        ...(this.#batch ? [this.#batch.cache] : []),
        ...added.map(({ cache }) => cache as DecoderCache),
      ] as [DecoderCache, ...DecoderCache[]];
      const cache = others.length > 0 ? first.join(others) : first;
      if (cache !== first) for (const each of [first, ...others]) each.dispose();
      for (const row of added) row.cache = undefined;
      this.#batch = { cache, rows: [...(this.#batch?.rows ?? []), ...added] };
    }
    return (this.#batch as { cache: DecoderCache }).cache;
  }

  /** Takes a sequence out of the batch, with a cache of its own. */
  #take(row: Row): void {
    const batch = this.#batch;
    const at = batch?.rows.indexOf(row) ?? -1;
    if (!batch || at < 0) return;
    const others = [...batch.rows.keys()].filter((each) => each !== at);
    row.cache = batch.cache.fork([at]);
    this.#batch = others.length
      ? { cache: batch.cache.fork(others), rows: others.map((each) => batch.rows[each] as Row) }
      : undefined;
    batch.cache.dispose();
  }

  /** The logits [rows, vocabulary] behind the tokens of each row; the cache is as it was if that fails. */
  async #advance(
    cache: DecoderCache,
    tokens: readonly (readonly number[])[],
    signal: AbortSignal | undefined,
  ): Promise<Float32Array> {
    const { runtime, decoder, parameters } = this;
    const before = cache.lengths;
    const [{ length }] = tokens as [readonly number[]];
    try {
      using logits = runtime.scope(() =>
        decoder.step(parameters, runtime.tensor(tokens.flat(), [tokens.length, length], 'i32'), cache, { signal }),
      );
      const read = await logits.read();
      const { landmarks, vocabulary } = decoder;
      // No text has landmarks.
      for (let row = 0; landmarks && row < tokens.length; row++)
        read[row * vocabulary + landmarks.token] = Number.NEGATIVE_INFINITY;
      return read;
    } catch (error) {
      if (!this.#disposed) cache.truncate(before);
      throw error;
    }
  }
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  for (let at = 0; at < most; at++) if (a[at] !== b[at]) return at;
  return most;
}
