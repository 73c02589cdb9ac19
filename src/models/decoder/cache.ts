/** What a decoder carries on from the tokens that it has seen, in each layer as its method wants it. */
import { createKeyValueCache, createRecurrentCache, type KeyValueCache, type RecurrentCache } from '../../cache';
import { checkOptions, checkWhole } from '../../check';
import { DisposedError, ParameterError } from '../../errors';
import type { Method } from '../../methods/define';
import type { AttentionContext, AttentionLayer } from '../../nn/attention';
import { attention } from '../../ops/attention';
import type { CacheDType } from '../../ops/cache/layout';
import { concat } from '../../ops/copy';
import { parallax } from '../../ops/parallax';
import type { Control } from '../../runtime/backend';
import type { Runtime } from '../../runtime/runtime';
import { softcap as softcapScore } from '../../scores/score';
import { disposeKey, type Tensor } from '../../tensor/tensor';

export interface DecoderCacheOptions {
  /** Sequences that go on side by side, equally long. Default 1. */
  readonly rows?: number | undefined;
  /** The most tokens of a row. */
  readonly capacity: number;
  /** How keys and values of exact attention are stored. Default f32. */
  readonly dtype?: CacheDType | undefined;
}

/** Of exact attention, and of Parallax, what a key-value cache has options for. */
interface ExactParams {
  readonly window?: readonly [number, number] | number;
  readonly sinks?: number;
  readonly prefix?: number;
  readonly softcap?: number;
  readonly scale?: number;
}

type Inputs = Readonly<Record<string, Tensor>>;

/** What a layer's method gives for the inputs of tokens that go on from those it has seen. */
type Attend = (inputs: Inputs, control: Pick<Control, 'signal'>) => Tensor;

/**
 * Keys and values for exact attention and Parallax, states for recurrent methods; of others the inputs of all tokens, from which each
 * step computes anew. After a step that failed or was cancelled it is of no use.
 */
export class DecoderCache {
  readonly runtime: Runtime;
  readonly rows: number;
  readonly capacity: number;
  readonly #layers: readonly Attend[];
  readonly #parts: (KeyValueCache | RecurrentCache)[] = [];
  /** Of methods that are computed anew, by layer. */
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
    const [exact, recurrent] = [layers.filter(isExact), layers.filter(({ method }) => hasState(method))];
    for (const [at, { method }] of layers.entries())
      if (!exact.includes(layers[at] as AttentionLayer) && !hasState(method)) checkTokens(method, at);
    const [first] = exact;
    const keys =
      first &&
      createKeyValueCache(runtime, {
        ...{ rows, capacity, dtype, heads: first.keyHeads, d: first.d, e: first.e },
        layers: exact.map(({ params }) => {
          const { window = 0, sinks } = params as ExactParams;
          const keys = typeof window === 'number' ? window : window[0] + 1;
          return keys === 0 ? {} : { window: keys, sinks };
        }),
      });
    const states =
      recurrent.length > 0
        ? createRecurrentCache(runtime, {
            rows,
            history: 0,
            layers: recurrent.map(({ method, params }) => ({ method, params })),
          })
        : undefined;
    for (const part of [keys, states]) if (part) this.#parts.push(part);
    this.#layers = layers.map((layer, at) => {
      if (exact.includes(layer)) return this.#exactly(keys as KeyValueCache, exact.indexOf(layer), layer);
      if (!recurrent.includes(layer)) return this.#anew(layer, at);
      const own = recurrent.indexOf(layer);
      return (inputs, control) => (states as RecurrentCache).append(own, inputs, control);
    });
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

  /** For the decoder: `step` of n tokens, with what each layer's attention goes on from. */
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
      ...{ signal, positions },
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

  #exactly(keys: KeyValueCache, at: number, { params }: AttentionLayer): Attend {
    const { softcap, scale } = params as ExactParams;
    const score = softcap === undefined ? undefined : softcapScore(softcap);
    return ({ q, r, k, v }, control) => {
      keys.append(at, k as Tensor, v as Tensor, control);
      if (r) return parallax(q as Tensor, r, keys.layer(at), { scale, ...control }).out;
      return attention(q as Tensor, keys.layer(at), { scale, score, ...control }).out;
    };
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

function disposeAll(inputs: Inputs): void {
  for (const each of Object.values(inputs)) each.dispose();
}

const isExact = ({ method, params }: AttentionLayer) =>
  method.name === 'parallax' || (method.name === 'attention' && (params as ExactParams).prefix === 0);

const hasState = ({ optional, outputs }: Method) => optional?.initial_state !== undefined && 'state' in outputs;

const lettersOf = ({ inputs, optional }: Method, name: string) => (inputs[name] ?? optional?.[name] ?? '').split(' ');

/** The axis of an input's tokens; undefined for inputs that all tokens share. */
function tokenAxis(method: Method, name: string): number | undefined {
  const axis = lettersOf(method, name).findIndex((letter) => letter === 'n' || letter === 'm');
  return axis < 0 ? undefined : axis;
}

/** Throws unless each input of a method is one of each token, or of none. */
function checkTokens(method: Method, layer: number): void {
  for (const name of Object.keys(method.inputs))
    if (tokenAxis(method, name) === undefined && lettersOf(method, name).includes('b'))
      throw new ParameterError(
        `layer ${layer}: ${method.name} cannot go on from tokens that it has seen, as its input ${name} is of several together`,
      );
}
