/** States of recurrent methods behind the interface of a key-value cache, so that layers of both kinds decode side by side. */
import { checkArray, checkOptions, checkRecord, checkWhole, show } from '../check';
import { DisposedError, ParameterError, ShapeError } from '../errors';
import type { Complete } from '../methods/continuation';
import type { Method } from '../methods/define';
import { checkCounts } from '../ops/cache/layer';
import { checkControl, checkTensors, commonRuntime } from '../ops/check';
import { aRuntime, defineComposite, type Needing, type OptionsOf, type Setting, whole } from '../ops/define';
import type { Runtime } from '../runtime/runtime';
import { bytesPerElement, type DType } from '../tensor/dtype';
import { type HostTensor, hostTensor } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import { disposeKey, type Tensor } from '../tensor/tensor';
import { describesItself } from '../text/inspect';
import { advance, joined, keptInputs, keptOf, type Moment, type Recurrence, tokenAxis } from './advance';
import type { AppendOptions } from './key-value-cache';
import { numbersIn, partOf } from './named';
import { checkRows, rowLengths } from './rows';

/** A layer: a method that goes on from a state, such as the gated delta rule. */
export interface RecurrentLayer {
  readonly method: Method;
  /** Default: the method's. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
}

interface Layer extends Recurrence {
  /** The last one is the current one. */
  moments: Moment[];
}

const layers: Setting<readonly RecurrentLayer[], readonly Recurrence[]> = {
  expected: 'an array of methods that go on from a state',
  check(name, layers) {
    checkArray(name, layers);
    const all = layers as readonly RecurrentLayer[];
    if (all.length === 0) throw new ParameterError(`${name} must be one at least, got an empty list`);
    return Array.from(all, (layer, at): Recurrence => {
      checkOptions(`${name}[${at}]`, layer, ['method', 'params']);
      const { method, params = {} } = layer;
      const parsed = typeof method?.continuation === 'function' ? method.parse(params) : undefined;
      const continuation = parsed && method.continuation(parsed);
      if (continuation?.from !== 'state')
        throw new ParameterError(
          `method of ${name}[${at}] must go on from a state, such as lightning-attention, got ${show(method?.name ?? method)}`,
        );
      return { method, params: parsed as object, continuation };
    });
  },
};

/** @internal */
export const createRecurrentCacheOp = defineComposite({
  name: 'createRecurrentCache',
  inputs: { runtime: aRuntime },
  options: {
    /** Methods that go on from a state. */
    layers,
    /** Sequences that are decoded side by side. Default 1. */
    rows: whole({ least: 1 }, 1),
    /** States kept from before the last appends, so that these can be undone. Default 1. */
    history: whole({ least: 0 }, 1),
  },
  run: ({ runtime, layers, rows, history }) => openRecurrentCache(runtime, layers, rows, history),
});

export interface RecurrentCacheOptions extends Needing<OptionsOf<typeof createRecurrentCacheOp>, 'layers'> {}

/**
 * The states of some layers, each of a fixed size whatever the number of tokens. Where a key-value cache has attention
 * read what was appended, `append` here returns what the tokens read.
 *
 * @throws {ParameterError} a method without a state, options that do not fit
 */
export const createRecurrentCache = (runtime: Runtime, options: RecurrentCacheOptions): RecurrentCache =>
  createRecurrentCacheOp({ runtime }, options);

/** The same for methods that go on from the inputs of all tokens, too: these keep what was before the last append. */
export function openRecurrentCache(
  runtime: Runtime,
  layers: readonly Recurrence[],
  rows: number,
  history: number,
): RecurrentCache {
  const lengths = new Array<number>(rows).fill(0);
  return new RecurrentCache(
    runtime,
    history,
    layers.map((layer) => ({ ...layer, moments: [{ lengths, kept: {} }] })),
  );
}

/** States by layer, each of a fixed size; made by `createRecurrentCache`. */
export class RecurrentCache {
  #disposed = false;

  /** Made by `createRecurrentCache` and `fork`. */
  constructor(
    readonly runtime: Runtime,
    private readonly history: number,
    private readonly all: readonly Layer[],
  ) {}

  /** A description, such as `RecurrentCache(2 layers, 5, 7 tokens on wasm)`. */
  toString(): string {
    const held = this.#disposed ? 'disposed' : `${this.lengths.join(', ')} tokens`;
    return `RecurrentCache(${this.layers} layers, ${held} on ${this.runtime.backend.name})`;
  }

  get layers(): number {
    return this.all.length;
  }

  /** Tokens of each row that all layers have: the position of the next. */
  get lengths(): number[] {
    this.#assertUsable('lengths');
    const [first, ...others] = this.all.map((layer) => now(layer).lengths) as [readonly number[], ...number[][]];
    return first.map((length, row) => Math.min(length, ...others.map((lengths) => lengths[row] as number)));
  }

  /** Bytes of the states, including earlier ones that are kept. */
  get bytes(): number {
    this.#assertUsable('bytes');
    return [...tensorsOf(this.all.flatMap(({ moments }) => moments))].reduce(
      (sum, { size, dtype }) => sum + size * bytesPerElement(dtype),
      0,
    );
  }

  /**
   * Appends tokens to the rows of a layer: the method's inputs, [rows, n, ...] each, of which the first `counts[r]` are row
   * r's. Returns what they read, zeros behind `counts[r]`. `complete` adds inputs that follow from those of all tokens.
   *
   * @throws {ShapeError} inputs of another number of rows
   * @throws {ParameterError} a layer that there is not, counts that do not fit
   */
  append(
    index: number,
    inputs: Readonly<Record<string, Tensor>>,
    options: AppendOptions = {},
    complete?: Complete,
  ): Tensor {
    this.#assertUsable('append()');
    const layer = this.#layer(index);
    checkTensors(inputs);
    if (commonRuntime(inputs) !== this.runtime)
      throw new ParameterError('the inputs live on another runtime than the cache: make both with the same runtime');
    checkOptions('append', options, ['counts', 'signal', 'onProgress']);
    checkControl(options);
    const { lengths } = now(layer);
    const { shape } = inputs.q as Tensor;
    if (shape[0] !== lengths.length)
      throw new ShapeError(`q must have ${lengths.length} rows as the cache, got ${formatShape(shape)}`);
    const counts = checkCounts(options.counts, lengths.length, shape[1] as number);
    const { out, kept } = this.runtime.scope(() => advance(layer, inputs, now(layer), counts, options, complete));
    if (counts.some((count) => count > 0)) {
      const next = { lengths: lengths.map((length, row) => length + (counts[row] as number)), kept };
      const most = layer.continuation.from === 'state' ? this.history : Math.min(1, this.history);
      this.#keep(layer, [...layer.moments, next].slice(-1 - most));
    }
    return out;
  }

  /**
   * Takes tokens back, in all layers: of each row the first `lengths[r]` stay, which are none, all, or as many as it had before
   * one of the last appends.
   *
   * @throws {ParameterError} other lengths: a state does not tell what it was before
   */
  truncate(lengths: number | readonly number[]): void {
    const wanted = this.checkTruncation(lengths);
    for (const layer of this.all)
      this.#keep(
        layer,
        this.runtime.scope(() => truncated(layer, wanted)),
      );
  }

  /** @internal Throws what `truncate` would, with these names of layers; the lengths of the rows. */
  checkTruncation(
    lengths: number | readonly number[],
    nameOf = (layer: number) => `layer ${layer}`,
  ): readonly number[] {
    this.#assertUsable('truncate()');
    const wanted = rowLengths(lengths, now(this.all[0] as Layer).lengths.length);
    for (const [at, layer] of this.all.entries())
      for (const [row, length] of wanted.entries()) {
        if (length === 0 || momentAt(layer, row, length) >= 0) continue;
        const known = [...new Set(layer.moments.map((moment) => moment.lengths[row]))];
        const expected =
          layer.continuation.from === 'state'
            ? `0 or ${known.join(' or ')}, where ${nameOf(at)} keeps a state`
            : `at most ${known.at(-1)}, the tokens of ${nameOf(at)}`;
        throw new ParameterError(`lengths[${row}] must be ${expected}, got ${length}`);
      }
    return wanted;
  }

  /** A cache whose row i continues from row `rows[i]` of this one; states are copied. */
  fork(rows: readonly number[]): RecurrentCache {
    this.#assertUsable('fork()');
    checkRows(rows, now(this.all[0] as Layer).lengths.length);
    return this.#withRows(rows.map((row) => ({ cache: this, row })));
  }

  /**
   * A cache with copies of the rows of this one and of others, which must be forks of each other.
   *
   * @throws {ParameterError} a cache of other layers
   */
  join(others: readonly RecurrentCache[]): RecurrentCache {
    const all = [this, ...others];
    for (const cache of all) {
      cache.#assertUsable('join()');
      if (cache.runtime !== this.runtime || cache.all.some(({ method }, at) => method !== this.all[at]?.method))
        throw new ParameterError('caches can be joined that are forks of each other only');
    }
    return this.#withRows(all.flatMap((cache) => cache.lengths.map((_, row) => ({ cache, row }))));
  }

  /** What all layers keep now as tensors, which `writeSafetensors` writes; not what was before the last appends. */
  async save(): Promise<Record<string, HostTensor>> {
    this.#assertUsable('save()');
    const moments = this.all.map(now);
    const rows = (moments[0] as Moment).lengths.length;
    const lengths = Int32Array.from(moments.flatMap(({ lengths }) => lengths));
    const saved: Record<string, HostTensor> = { lengths: hostTensor(lengths, [this.layers, rows], 'i32') };
    // As it is now, whatever is appended meanwhile.
    using copy = this.fork([...Array(rows).keys()]);
    for (const [at, layer] of copy.all.entries())
      for (const [name, tensor] of Object.entries(now(layer).kept)) saved[`${at}.${name}`] = await tensor.toHost();
    return saved;
  }

  /**
   * Takes what `save` gave of a cache with the same layers, params and rows, in the place of nothing.
   *
   * @throws {ParameterError} a cache that has tokens already; tensors of another cache
   */
  restore(saved: Readonly<Record<string, HostTensor>>): void {
    this.#assertUsable('restore()');
    checkRecord('saved', saved);
    const rows = this.lengths.length;
    if (this.all.some((layer) => now(layer).lengths.some((length) => length > 0)))
      throw new ParameterError(`restore() needs a cache without tokens, got one of ${this.lengths.join(', ')}`);
    const all = numbersIn(saved, 'lengths', [this.layers, rows]);
    const next = this.all.map((layer, at) => {
      const lengths = [...all.slice(at * rows, (at + 1) * rows)];
      const kept = partOf(`${at}.`, saved);
      checkSaved(layer, at, lengths, kept);
      return { lengths, kept };
    });
    for (const [at, { lengths, kept }] of next.entries()) {
      const tensors = Object.entries(kept).map(
        ([name, host]) => [name, this.runtime.fromHost(host as HostTensor<DType>)] as const,
      );
      this.#keep(this.all[at] as Layer, [{ lengths, kept: Object.fromEntries(tensors) }]);
    }
  }

  #withRows(rows: readonly { readonly cache: RecurrentCache; readonly row: number }[]): RecurrentCache {
    const layers = this.all.map((layer, at): Layer => {
      const places = rows.map(({ cache, row }) => ({ moment: now(cache.all[at] as Layer), row }));
      const kept = this.runtime.scope(() =>
        joined(
          layer.method,
          places.map(({ moment, row }) => keptOf(layer, moment, row)),
        ),
      );
      for (const tensor of Object.values(kept)) this.runtime.keepBeyondScopes(tensor);
      return { ...layer, moments: [{ lengths: places.map(({ moment, row }) => moment.lengths[row] as number), kept }] };
    });
    return new RecurrentCache(this.runtime, this.history, layers);
  }

  /** Frees the states. Disposing twice is harmless. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const layer of this.all) this.#keep(layer, []);
  }

  [disposeKey](): void {
    this.dispose();
  }

  /** Puts these moments in the place of a layer's. */
  #keep(layer: Layer, moments: Moment[]): void {
    const [held, next] = [tensorsOf(layer.moments), tensorsOf(moments)];
    layer.moments = moments;
    for (const tensor of next) if (!held.has(tensor)) this.runtime.keepBeyondScopes(tensor);
    for (const tensor of held) if (!next.has(tensor)) tensor.dispose();
  }

  #layer(index: number): Layer {
    checkWhole('layer', index, 0, this.all.length - 1);
    return this.all[index] as Layer;
  }

  #assertUsable(use: string): void {
    if (this.#disposed) throw new DisposedError(`${use}: the recurrent cache was disposed`);
    this.runtime.assertUsable(use);
  }
}

describesItself(RecurrentCache, 'RecurrentCache');

const now = ({ moments }: Layer): Moment => moments.at(-1) as Moment;

const tensorsOf = (moments: readonly Moment[]): Set<Tensor> =>
  new Set(moments.flatMap(({ kept }) => Object.values(kept)));

/** Throws unless `kept` is what a layer may keep once its rows have so many tokens. */
function checkSaved(
  { method, continuation }: Layer,
  at: number,
  lengths: readonly number[],
  kept: Readonly<Record<string, HostTensor>>,
): void {
  if (lengths.some((length) => length < 0))
    throw new ParameterError(`lengths of saved must not be negative, got ${lengths.join(', ')} for layer ${at}`);
  const longest = Math.max(...lengths);
  const isState = continuation.from === 'state';
  const needed = isState ? Object.keys(continuation.state) : keptInputs(method, continuation);
  for (const name of longest > 0 ? needed : []) {
    const { shape = [] } = kept[name] ?? {};
    if (shape[0] !== lengths.length || (!isState && (shape[tokenAxis(method, name)] as number) < longest))
      throw new ParameterError(
        `saved must have '${at}.${name}' of ${lengths.length} rows${isState ? '' : ` with ${longest} tokens`}, as ${method.name} keeps it, got ${kept[name] ? formatShape(shape) : 'none'}`,
      );
  }
}

/** The earliest moment from which a row can go on after so many tokens, as later ones may be at fault; -1 if there is none. */
function momentAt({ continuation, moments }: Layer, row: number, length: number): number {
  const isKept = (tokens: number) => (continuation.from === 'state' ? tokens === length : tokens >= length);
  return moments.findIndex(({ lengths }) => isKept(lengths[row] as number));
}

/** The moments of a layer that remain, the last with these lengths. */
function truncated(layer: Layer, lengths: readonly number[]): Moment[] {
  const { method, continuation, moments } = layer;
  const isNow = (moment: Moment) => moment.lengths.every((length, row) => length === lengths[row]);
  const places = lengths.map((length, row) => (length === 0 ? -1 : momentAt(layer, row, length)));
  const last = Math.max(...places);
  if (last < 0) return [{ lengths, kept: {} }];
  if (continuation.from === 'inputs') return [{ lengths, kept: (moments[last] as Moment).kept }];
  const alike = moments.findLastIndex(isNow);
  if (alike >= 0) return moments.slice(0, alike + 1);
  const rows = places.map((place, row) => (place < 0 ? {} : keptOf(layer, moments[place] as Moment, row)));
  return [...moments.slice(0, Math.max(0, Math.min(...places))), { lengths, kept: joined(method, rows) }];
}
