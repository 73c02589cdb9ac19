/** A decoder's state from past tokens, in each layer as its method needs it. */
import { createKeyValueCache, createRecurrentCache, type KeyValueCache, type RecurrentCache } from '../../cache';
import { checkOptions, checkWhole } from '../../check';
import { DisposedError, ParameterError } from '../../errors';
import type { CachedDecoding, Method } from '../../methods/define';
import type { AttentionContext, AttentionLayer } from '../../nn/attention';
import type { CacheDType } from '../../ops/cache/layout';
import { concat } from '../../ops/copy';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { disposeKey, type Tensor } from '../../tensor/tensor';
import { describesItself } from '../../text/inspect';

export interface DecoderCacheOptions {
  /** Sequences decoded side by side, of equal length. Default 1. */
  readonly rows?: number | undefined;
  /** The most tokens of a row. */
  readonly capacity: number;
  /** How keys and values of exact attention are stored. Default f32. */
  readonly dtype?: CacheDType | undefined;
}

type Inputs = Readonly<Record<string, Tensor>>;

interface CachedLayer {
  readonly layer: AttentionLayer;
  readonly decoding: CachedDecoding;
}

/** The result of a layer's method for the inputs of tokens that continue those it has seen. */
type Attend = (inputs: Inputs, control: Pick<Control, 'signal'>) => Tensor;

/**
 * Keys and values for methods that say how they go on from a cache, states for recurrent methods; of others the inputs of all tokens, from which each
 * step computes anew. After a step that failed or was cancelled it is of no use.
 */
export class DecoderCache {
  readonly runtime: Runtime;
  readonly rows: number;
  readonly capacity: number;
  readonly #layers: readonly Attend[];
  readonly #parts: (KeyValueCache | RecurrentCache)[] = [];
  /** The inputs of methods that compute all tokens again, by layer. */
  readonly #inputs: Inputs[] = [];
  #length = 0;
  #disposed = false;

  /** Made by the `cache` of a decoder. */
  constructor(runtime: Runtime, layers: readonly AttentionLayer[], options: DecoderCacheOptions) {
    checkOptions('cache', options, ['rows', 'capacity', 'dtype']);
    const { rows = 1, capacity, dtype } = options;
    checkWhole('rows', rows, 1);
    checkWhole('capacity', capacity, 1);
    this.runtime = runtime;
    this.rows = rows;
    this.capacity = capacity;
    const cached = layers.flatMap((layer): CachedLayer[] => {
      const decoding = layer.method.fromCache?.(layer.params);
      return decoding ? [{ layer, decoding }] : [];
    });
    const others = layers.filter((layer) => !cached.some((each) => each.layer === layer));
    const recurrent = others.filter(({ method }) => hasState(method));
    for (const layer of others) if (!hasState(layer.method)) checkTokens(layer.method, layers.indexOf(layer));

    const attends = new Map<AttentionLayer, Attend>();
    // A cache has the same heads in all layers.
    for (const heads of new Set(cached.map(({ layer }) => layer.keyHeads))) {
      const alike = cached.filter(({ layer }) => layer.keyHeads === heads);
      const [{ layer: first }] = alike as [CachedLayer];
      const keys = createKeyValueCache(runtime, {
        rows,
        capacity,
        dtype,
        heads,
        d: first.d,
        e: first.e,
        layers: alike.map(({ decoding: { window, sinks } }) => ({ window, sinks })),
      });
      this.#parts.push(keys);
      for (const [at, { layer, decoding }] of alike.entries())
        attends.set(layer, (inputs, control) => {
          keys.append(at, inputs.k as Tensor, inputs.v as Tensor, control);
          return decoding.attend(inputs, keys.layer(at), control);
        });
    }
    if (recurrent.length > 0) {
      const states = createRecurrentCache(runtime, {
        rows,
        history: 0,
        layers: recurrent.map(({ method, params }) => ({ method, params })),
      });
      this.#parts.push(states);
      for (const [at, layer] of recurrent.entries())
        attends.set(layer, (inputs, control) => states.append(at, inputs, control));
    }
    this.#layers = layers.map((layer, at) => attends.get(layer) ?? this.#anew(layer, at));
  }

  /** A description, such as `DecoderCache(5 of 64 tokens, 1 row, on wasm)`. */
  toString(): string {
    const held = this.#disposed ? 'disposed' : `${this.#length} of ${this.capacity} tokens`;
    return `DecoderCache(${held}, ${this.rows} rows on ${this.runtime.backend.name})`;
  }

  /** Tokens that each row has seen: the position of the next. */
  get length(): number {
    this.#assertUsable('length');
    return this.#length;
  }

  /** Bytes of memory that is held. */
  get bytes(): number {
    this.#assertUsable('bytes');
    const inputs = this.#inputs.flatMap(Object.values<Tensor>);
    return [...this.#parts, ...inputs.map(({ size }) => ({ bytes: 4 * size }))].reduce(
      (sum, { bytes }) => sum + bytes,
      0,
    );
  }

  /** For the decoder: `step` of n tokens, with what each layer's attention continues from. */
  advance<T>(
    n: number,
    signal: AbortSignal | undefined,
    step: (contextOf: (layer: number) => AttentionContext) => T,
  ): T {
    this.#assertUsable('step()');
    if (this.#length + n > this.capacity)
      throw new ParameterError(
        `a row would have ${this.#length + n} tokens, more than the capacity ${this.capacity} of the cache`,
      );
    const positions = { offset: this.#length };
    const result = step((layer) => ({
      signal,
      positions,
      attend: (inputs) => (this.#layers[layer] as Attend)(inputs, { signal }),
    }));
    this.#length += n;
    return result;
  }

  /** Frees what is held. Disposing twice is harmless. */
  dispose(): void {
    this.#disposed = true;
    for (const part of this.#parts) part.dispose();
    for (const inputs of this.#inputs.splice(0)) disposeAll(inputs);
  }

  [disposeKey](): void {
    this.dispose();
  }

  #anew({ method, params }: AttentionLayer, at: number): Attend {
    return (inputs, control) => {
      const before = this.#inputs[at];
      const all: Record<string, Tensor> = { ...inputs };
      for (const [name, x] of Object.entries(inputs)) {
        const axis = tokenAxis(method, name);
        if (axis === undefined) continue;
        const whole = concat([...(before?.[name] ? [before[name]] : []), x] as Tensor<'f32'>[], axis);
        this.runtime.keepBeyondScopes(whole);
        all[name] = whole;
      }
      this.#inputs[at] = Object.fromEntries(
        Object.entries(all).filter(([name]) => tokenAxis(method, name) !== undefined),
      );
      if (before) disposeAll(before);
      const out = method.forward(all as never, params as never, control).out as Tensor;
      const length = out.shape[1] as number;
      return out.slice(1, length - (inputs.q?.shape[1] as number), length);
    };
  }

  #assertUsable(use: string): void {
    if (this.#disposed) throw new DisposedError(`${use}: the cache of the decoder was disposed`);
    this.runtime.assertUsable(use);
  }
}

describesItself(DecoderCache, 'DecoderCache');

function disposeAll(inputs: Inputs): void {
  for (const each of Object.values(inputs)) each.dispose();
}

const hasState = ({ optional, outputs }: Method) => optional?.initial_state !== undefined && 'state' in outputs;

const lettersOf = ({ inputs, optional }: Method, name: string) => (inputs[name] ?? optional?.[name] ?? '').split(' ');

/** The axis of an input's tokens; undefined for inputs that all tokens share. */
function tokenAxis(method: Method, name: string): number | undefined {
  const axis = lettersOf(method, name).findIndex((letter) => letter === 'n' || letter === 'm');
  return axis < 0 ? undefined : axis;
}

/** Throws unless each input of a method belongs to single tokens or to all of them. */
function checkTokens(method: Method, layer: number): void {
  for (const name of Object.keys(method.inputs))
    if (tokenAxis(method, name) === undefined && lettersOf(method, name).includes('b'))
      throw new ParameterError(
        `layer ${layer}: ${method.name} cannot go on from tokens that it has seen, as its input ${name} is of several together`,
      );
}
