/** What a decoder keeps of past tokens, in each layer as its method goes on. */
import { checkTokens, type Recurrence } from '../../cache/advance';
import { createKeyValueCache, type KeyValueCache } from '../../cache/key-value-cache';
import { Memories } from '../../cache/memories';
import { partOf, prefixed } from '../../cache/named';
import { openRecurrentCache, type RecurrentCache } from '../../cache/recurrent-cache';
import { checkRows, rowLengths } from '../../cache/rows';
import { checkArray, checkOptions, checkRecord, checkWhole, show } from '../../check';
import { DisposedError, ParameterError, UnsupportedError } from '../../errors';
import type { AttendOptions, FromKeys, FromOwn, Memory } from '../../methods/continuation';
import type { AttentionContext, AttentionLayer, Continuing } from '../../nn/attention';
import type { Parameters } from '../../nn/module';
import { type CacheLayer, checkCounts, positionsFrom } from '../../ops/cache/layer';
import type { CacheDType } from '../../ops/cache/layout';
import type { Runtime } from '../../runtime/runtime';
import { type HostTensor, hostTensor } from '../../tensor/host';
import { disposeKey, type Tensor } from '../../tensor/tensor';
import { describesItself } from '../../text/inspect';
import { type Landmarks, withLandmarks, withoutLandmarks } from './landmarks';
import { OwnPart } from './own-part';

export interface DecoderCacheOptions {
  /** Sequences decoded side by side, of any lengths. Default 1. */
  readonly rows?: number | undefined;
  /** The most tokens of a row. */
  readonly capacity: number;
  /** How keys and values are stored. Default f32. */
  readonly dtype?: CacheDType | undefined;
  /** How many of the last steps can be taken back where layers keep states. Default 1. */
  readonly history?: number | undefined;
}

/** What layers keep whose methods go on alike. */
type Part = KeyValueCache | RecurrentCache | OwnPart;

/** The result of a layer's method for the inputs of tokens that continue those that the parts have seen. */
type Attend = (
  parts: readonly Part[],
  inputs: Readonly<Record<string, Tensor>>,
  options: AttendOptions,
  continuing: Continuing,
  memories: readonly Memory[],
) => Tensor;

/** What a cache and its forks have in common. */
interface Plan {
  readonly runtime: Runtime;
  readonly capacity: number;
  /** By layer. */
  readonly attends: readonly Attend[];
  /** Layers whose queries and keys come before they are rotated. */
  readonly plain: readonly boolean[];
  readonly landmarks: Landmarks | undefined;
  /** A name for the decoder with these parameters. */
  readonly identify: (parameters: Parameters) => Promise<string>;
  /** The names of the layers in each part, for messages. */
  readonly names: readonly (readonly string[])[];
  /** The keys that each memory is of. */
  readonly remembered: readonly { readonly part: number; readonly layer: number }[];
}

/** @throws {ParameterError} options that do not fit, a method that cannot go on from tokens that it has seen */
export function createDecoderCache(
  runtime: Runtime,
  layers: readonly AttentionLayer[],
  options: DecoderCacheOptions,
  landmarks: Landmarks | undefined,
  identify: Plan['identify'],
): DecoderCache {
  checkOptions('cache', options, ['rows', 'capacity', 'dtype', 'history']);
  const { rows = 1, capacity, dtype, history = 1 } = options;
  checkWhole('rows', rows, 1);
  checkWhole('capacity', capacity, 1);
  checkWhole('history', history, 1);
  const parts: Part[] = [];
  const names: string[][] = [];
  const attends: Attend[] = [];
  const memories: Memory[] = [];
  const remembered: Plan['remembered'][number][] = [];
  const add = (part: Part, places: readonly number[]) => {
    names.push(places.map((at) => nameOf(layers, at)));
    return parts.push(part) - 1;
  };
  const { keyed, others, own } = sorted(layers);
  const tokens = landmarks ? withLandmarks(capacity, landmarks) : capacity;
  // A cache has the same heads in all layers.
  for (const heads of new Set(keyed.map(({ layer }) => layer.keyHeads))) {
    const alike = keyed.filter(({ layer }) => layer.keyHeads === heads);
    const [{ layer }] = alike as [(typeof alike)[number]];
    const cache = createKeyValueCache(runtime, {
      rows,
      capacity: tokens,
      dtype,
      heads,
      d: layer.d,
      e: layer.e,
      layers: alike.map(({ continuation: { window, sinks } }) => ({ window, sinks })),
    });
    const part = add(
      cache,
      alike.map(({ at }) => at),
    );
    for (const [index, { at, continuation }] of alike.entries()) {
      const memory = continuation.memory ? memories.push(continuation.memory()) - 1 : -1;
      if (memory >= 0) remembered.push({ part, layer: index });
      attends[at] = (own, inputs, options, _, memories) => {
        const keys = own[part] as KeyValueCache;
        keys.append(index, inputs.k as Tensor, inputs.v as Tensor, options);
        return continuation.attend(inputs, keys.layer(index), options, memories[memory]);
      };
    }
  }
  if (others.length > 0) {
    const part = add(
      openRecurrentCache(runtime, others, rows, history),
      others.map(({ at }) => at),
    );
    for (const [index, { at }] of others.entries())
      attends[at] = (own, inputs, options, { complete }) =>
        (own[part] as RecurrentCache).append(index, inputs, options, complete);
  }
  if (own.length > 0) {
    const open = ({ layer: { heads, keyHeads, d, e }, continuation }: (typeof own)[number]) =>
      continuation.open({ runtime, rows, heads, keyHeads, d, e, dtype: dtype ?? 'f32', history });
    const part = add(
      new OwnPart(own.map(open)),
      own.map(({ at }) => at),
    );
    for (const [index, { at }] of own.entries())
      attends[at] = (held, inputs, options, { rotate, complete }) =>
        (held[part] as OwnPart).layer(index).append(inputs, options, rotate, complete);
  }
  const plain = layers.map((_, at) => own.some((each) => each.at === at));
  return new DecoderCache(
    { runtime, capacity, attends, names, plain, landmarks, identify, remembered },
    parts,
    new Memories(memories, rows),
    rows,
  );
}

const nameOf = (layers: readonly AttentionLayer[], at: number) => `layer ${at} (${layers[at]?.method.name})`;

/** The layers that go on from keys and values, those that keep what they need themselves, and all others. */
function sorted(layers: readonly AttentionLayer[]) {
  const keyed: { readonly at: number; readonly layer: AttentionLayer; readonly continuation: FromKeys }[] = [];
  const own: { readonly at: number; readonly layer: AttentionLayer; readonly continuation: FromOwn }[] = [];
  const others: (Recurrence & { readonly at: number })[] = [];
  for (const [at, layer] of layers.entries()) {
    const { method, params } = layer;
    const continuation = method.continuation(params);
    if (continuation.from === 'keys') {
      keyed.push({ at, layer, continuation });
      continue;
    }
    if (continuation.from === 'own') {
      own.push({ at, layer, continuation });
      continue;
    }
    const other = { at, method, params, continuation };
    checkTokens(other, `layer ${at}`);
    if (continuation.from === 'inputs' && continuation.revises && at < layers.length - 1)
      throw new ParameterError(
        `layer ${at}: ${method.name} can go on from tokens that it has seen only in the last layer, as its results for these change`,
      );
    others.push(other);
  }
  return { keyed, others, own };
}

/**
 * Keys and values, states, or the inputs of all tokens, as each layer's method goes on. A step that throws leaves it as it was;
 * after one whose results turn out to be at fault, `truncate` to the lengths before it.
 */
export class DecoderCache {
  readonly runtime: Runtime;
  /** The most tokens of a row. */
  readonly capacity: number;
  #disposed = false;

  /** Made by the `cache` of a decoder and by `fork`. */
  constructor(
    private readonly plan: Plan,
    private readonly parts: readonly Part[],
    private readonly memories: Memories,
    readonly rows: number,
    /** Those that its tokens are of. */
    private parameters?: Parameters,
  ) {
    this.runtime = plan.runtime;
    this.capacity = plan.capacity;
  }

  /** A description, such as `DecoderCache(5, 7 of 64 tokens on wasm)`. */
  toString(): string {
    const held = this.#disposed ? 'disposed' : `${this.lengths.join(', ')} of ${this.capacity} tokens`;
    return `DecoderCache(${held} on ${this.runtime.backend.name})`;
  }

  /** Tokens that each row has seen: the position of its next. */
  get lengths(): number[] {
    this.#assertUsable('lengths');
    return this.#stored.map((length) => this.#textOf(length));
  }

  /** With landmarks. */
  get #stored(): number[] {
    return (this.parts[0] as Part).lengths;
  }

  get #isEmpty(): boolean {
    return this.#stored.every((length) => length === 0);
  }

  #textOf(length: number): number {
    const { landmarks } = this.plan;
    return landmarks ? withoutLandmarks(length, landmarks) : length;
  }

  /** Bytes of memory that is held; keys and values together with the forks that they are shared with. */
  get bytes(): number {
    this.#assertUsable('bytes');
    return this.parts.reduce((sum, { bytes }) => sum + bytes, this.memories.bytes);
  }

  /** Those of `bytes` in blocks that are read only where a landmark opens them: they might lie in slow memory. */
  get slowBytes(): number {
    this.#assertUsable('slowBytes');
    return this.parts.reduce((sum, part) => sum + (part instanceof OwnPart ? part.slowBytes : 0), 0);
  }

  /**
   * Takes tokens back: of each row the first `lengths[r]` stay. Layers that keep states can go back to none, and to before
   * each of the last `history` steps; any layer can after one step that failed.
   *
   * @throws {ParameterError} more tokens than there are, or so few that a layer has lost what it would go on from, by its name
   */
  truncate(lengths: number | readonly number[]): void {
    this.#assertUsable('truncate()');
    const { landmarks } = this.plan;
    const given = rowLengths(lengths, this.rows);
    this.#truncate(landmarks ? given.map((length) => withLandmarks(length, landmarks)) : given);
  }

  #truncate(wanted: readonly number[]): void {
    for (const [at, part] of this.parts.entries())
      part.checkTruncation(wanted, (layer) => this.plan.names[at]?.[layer] as string);
    for (const part of this.parts) part.truncate(wanted);
    this.memories.truncate(wanted);
  }

  /**
   * A cache whose row i continues from row `rows[i]` of this one, such as `[0, 0, 0]` for three samples of one prompt. Keys and
   * values are shared until one of the caches writes to them, all else is copied; each is disposed of by itself.
   *
   * @throws {ParameterError} rows that there are not
   */
  fork(rows: readonly number[]): DecoderCache {
    this.#assertUsable('fork()');
    checkRows(rows, this.rows);
    const parts = this.parts.map((part) => part.fork(rows));
    return new DecoderCache(this.plan, parts, this.memories.fork(rows), rows.length, this.parameters);
  }

  /**
   * A cache with the rows of this one and of others, which must be forks of each other: keys and values are shared, all else is
   * copied. Each is disposed of by itself.
   *
   * @throws {ParameterError} a cache that is none of these
   */
  join(others: readonly DecoderCache[]): DecoderCache {
    this.#assertUsable('join()');
    checkArray('others', others);
    for (const [at, other] of others.entries()) {
      if (!(other instanceof DecoderCache) || other.plan !== this.plan)
        throw new ParameterError(`others[${at}] must be a fork of the same cache, got ${show(other)}`);
      other.#assertUsable('join()');
      if (other.parameters && !other.#isEmpty) this.#take(other.parameters);
    }
    const parts = this.parts.map((part, at) => part.join(others.map((other) => other.parts[at]) as never));
    const rows = others.reduce((sum, other) => sum + other.rows, this.rows);
    const memories = this.memories.join(others.map((other) => other.memories));
    return new DecoderCache(this.plan, parts, memories, rows, this.parameters);
  }

  /** Tokens are of the same parameters, or what goes on from them would be of neither. */
  #take(parameters: Parameters): void {
    const { parameters: own } = this;
    const isOther = (name: string) => parameters[name] !== own?.[name];
    if (!own || this.#isEmpty) this.parameters = { ...parameters };
    else if (Object.keys(own).some(isOther))
      throw new ParameterError('the cache has tokens of other parameters: take a cache of its own for each model');
  }

  /**
   * @internal For the decoder: `step` of n tokens, of which the first `counts[r]` are row r's, with what the attention of each
   * layer continues from. Landmarks are among the tokens.
   */
  advance<T>(
    parameters: Parameters,
    n: number,
    { counts: given, signal }: Pick<AttentionContext, 'signal'> & { readonly counts?: readonly number[] | undefined },
    step: (contextOf: (layer: number) => AttentionContext, counts: readonly number[]) => T,
  ): T {
    this.#assertUsable('step()');
    this.#take(parameters);
    const { runtime, capacity, parts, memories } = this;
    const before = this.#stored;
    const counts = checkCounts(given, this.rows, n);
    for (const [row, length] of before.entries()) {
      const tokens = this.#textOf(length + (counts[row] as number));
      if (tokens > capacity)
        throw new ParameterError(
          `row ${row} would have ${tokens} tokens, more than the capacity ${capacity} of the cache`,
        );
    }
    try {
      return runtime.scope(() => {
        const { landmarks, plain } = this.plan;
        const length = landmarks ? withLandmarks(capacity, landmarks) : capacity;
        const positions = positionsFrom(runtime, before, n, length - 1);
        const contextOf = (layer: number): AttentionContext => ({
          signal,
          positions,
          length,
          isPlain: plain[layer] as boolean,
          attend: (inputs, continuing) =>
            (this.plan.attends[layer] as Attend)(parts, inputs, { signal, counts }, continuing, memories.all),
        });
        return step(contextOf, counts);
      });
    } catch (error) {
      this.#truncate(before);
      throw error;
    }
  }

  /**
   * What it holds of all tokens as tensors, which `writeSafetensors` writes: keys and values as they lie, indexes of them, and
   * states, with a hash of the settings that made them and of parts of the parameters: of 8 blocks of
   * 512 numbers of each, so that weights that differ only between these are taken for the same.
   *
   * @throws {ParameterError} a cache that has no tokens
   * @throws {UnsupportedError} a layer that keeps something else, by its name
   */
  async save(): Promise<Record<string, HostTensor>> {
    const parts = this.#savable('save()');
    if (!this.parameters || this.#isEmpty)
      throw new ParameterError('save() needs a cache with tokens, got one without');
    const saved: Record<string, HostTensor> = { identity: await this.#identity(this.parameters) };
    for (const [at, part] of parts.entries()) Object.assign(saved, prefixed(`parts.${at}.`, await part.save()));
    return Object.assign(saved, prefixed('memory.', await this.memories.save(this.#keysOf)));
  }

  /**
   * Goes on from what `save` gave of a cache of the same decoder, parameters, rows and type; this one has no tokens yet.
   *
   * @throws {ParameterError} a cache that has tokens; parameters or settings other than those that made `saved`; tensors of
   * another cache, or an index of other keys
   * @throws {UnsupportedError} a layer that keeps something else, by its name
   */
  async restore(saved: Readonly<Record<string, HostTensor>>, parameters: Parameters): Promise<void> {
    checkRecord('saved', saved);
    checkRecord('parameters', parameters);
    const parts = this.#savable('restore()');
    if (!this.#isEmpty)
      throw new ParameterError(`restore() needs a cache without tokens, got one of ${this.lengths.join(', ')}`);
    const own = await this.#identity(parameters);
    const made = saved.identity?.data;
    if (!own.data.every((byte, at) => byte === made?.[at]))
      throw new ParameterError(
        `saved must be of these parameters and settings of the decoder, got ${made ? 'that of others' : "none with an 'identity'"}: give the tokens anew`,
      );
    try {
      for (const [at, part] of parts.entries()) part.restore(partOf(`parts.${at}.`, saved));
      await this.memories.restore(partOf('memory.', saved), this.#keysOf);
      this.parameters = { ...parameters };
    } catch (error) {
      this.#truncate(new Array<number>(this.rows).fill(0));
      throw error;
    }
  }

  async #identity(parameters: Parameters): Promise<HostTensor<'u8'>> {
    const bytes = new TextEncoder().encode(await this.plan.identify(parameters));
    return hostTensor(bytes, [bytes.length], 'u8');
  }

  readonly #keysOf = (memory: number): CacheLayer => {
    const { part, layer } = this.plan.remembered[memory] as Plan['remembered'][number];
    return (this.parts[part] as KeyValueCache).layer(layer);
  };

  #savable(use: string): Exclude<Part, OwnPart>[] {
    this.#assertUsable(use);
    return this.parts.map((part, at) => {
      if (!(part instanceof OwnPart)) return part;
      throw new UnsupportedError(
        `${use}: ${this.plan.names[at]?.join(', ')} keeps a cache of its own, which cannot be saved: give the tokens anew`,
      );
    });
  }

  /** Frees what is held. Disposing twice is harmless. */
  dispose(): void {
    this.#disposed = true;
    for (const part of this.parts) part.dispose();
    this.memories.dispose();
  }

  [disposeKey](): void {
    this.dispose();
  }

  #assertUsable(use: string): void {
    if (this.#disposed) throw new DisposedError(`${use}: the cache of the decoder was disposed`);
    this.runtime.assertUsable(use);
  }
}

describesItself(DecoderCache, 'DecoderCache');
