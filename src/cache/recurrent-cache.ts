/** States of recurrent methods behind the interface of a key-value cache, so that layers of both kinds decode side by side. */
import { checkArray, checkOptions, checkWhole, show } from '../check';
import { DisposedError, ParameterError, ShapeError } from '../errors';
import type { Method } from '../methods/define';
import { checkCounts } from '../ops/cache/layer';
import { checkControl, checkTensors, commonRuntime } from '../ops/check';
import { concat, contiguous, pad } from '../ops/copy';
import { zeros } from '../ops/float32';
import { Runtime } from '../runtime/runtime';
import { bindShapes, formatShape } from '../tensor/shape';
import { disposeKey, type Tensor } from '../tensor/tensor';
import { describesItself } from '../text/inspect';
import type { AppendOptions } from './key-value-cache';

/** A layer: a method that takes `initial_state` and gives `state`, such as the gated delta rule. */
export interface RecurrentLayer {
  readonly method: Method;
  /** Default: the method's. */
  readonly params?: Readonly<Record<string, unknown>> | undefined;
}

export interface RecurrentCacheOptions {
  readonly layers: readonly RecurrentLayer[];
  /** Sequences that are decoded side by side. Default 1. */
  readonly rows?: number | undefined;
  /** States kept from before the last appends, so that these can be undone. Default 1. */
  readonly history?: number | undefined;
}

interface Moment {
  readonly lengths: readonly number[];
  /** None before the first token. */
  readonly state: Tensor | undefined;
}

interface Layer {
  readonly method: Method;
  readonly params: object;
  /** The last one is the current one. */
  moments: Moment[];
}

/**
 * The states of some layers, each of a fixed size whatever the number of tokens. Where a key-value cache has attention
 * read what was appended, `append` here returns what the tokens read.
 *
 * @throws {ParameterError} a method without a state, options that do not fit
 */
export function createRecurrentCache(runtime: Runtime, options: RecurrentCacheOptions): RecurrentCache {
  if (!(runtime instanceof Runtime)) throw new ParameterError(`runtime must be a Runtime, got ${show(runtime)}`);
  checkOptions('createRecurrentCache', options, ['layers', 'rows', 'history']);
  const { layers, rows = 1, history = 1 } = options;
  checkWhole('rows', rows, 1);
  checkWhole('history', history, 0);
  checkArray('layers', layers);
  if (layers.length === 0) throw new ParameterError('layers must be one at least, got an empty list');
  const made = Array.from(layers, (layer, at): Layer => {
    checkOptions(`layers[${at}]`, layer, ['method', 'params']);
    const { method, params = {} } = layer;
    const hasState = method?.optional && 'initial_state' in method.optional && 'state' in method.outputs;
    if (!hasState)
      throw new ParameterError(
        `method of layers[${at}] must take initial_state and give state, such as lightning-attention, got ${show(method?.name ?? method)}`,
      );
    const none = { lengths: new Array<number>(rows).fill(0), state: undefined };
    return { method, params: method.parse(params), moments: [none] };
  });
  return new RecurrentCache(runtime, history, made);
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
    const states = new Set(this.all.flatMap(({ moments }) => moments.flatMap(({ state }) => state ?? [])));
    return [...states].reduce((sum, { size }) => sum + 4 * size, 0);
  }

  /**
   * Appends tokens to the rows of a layer: the method's inputs, [rows, n, ...] each, of which the first `counts[r]` are row
   * r's. Returns what they read, zeros behind `counts[r]`.
   *
   * @throws {ShapeError} inputs of another number of rows
   * @throws {ParameterError} a layer that there is not, counts that do not fit
   */
  append(index: number, inputs: Readonly<Record<string, Tensor>>, options: AppendOptions = {}): Tensor {
    this.#assertUsable('append()');
    const layer = this.#layer(index);
    checkTensors(inputs);
    if (commonRuntime(inputs) !== this.runtime)
      throw new ParameterError('the inputs live on another runtime than the cache: make both with the same runtime');
    checkOptions('append', options, ['counts', 'signal', 'onProgress']);
    checkControl(options);
    const { lengths, state } = now(layer);
    const { shape } = inputs.q as Tensor;
    if (shape[0] !== lengths.length)
      throw new ShapeError(`q must have ${lengths.length} rows as the cache, got ${formatShape(shape)}`);
    const n = shape[1] as number;
    const counts = checkCounts(options.counts, lengths.length, n);
    const { out, state: next } = this.runtime.scope(() => advance(layer, inputs, state, counts, n, options));
    if (next !== state) {
      if (next) this.runtime.keepBeyondScopes(next);
      layer.moments.push({ lengths: lengths.map((length, row) => length + (counts[row] as number)), state: next });
      this.#forget(layer, this.history + 1);
    }
    return out;
  }

  /**
   * Takes tokens back, in all layers: to 0, to what is there, or to what was there before one of the last appends.
   *
   * @throws {ParameterError} other lengths: a state does not tell what it was before
   */
  truncate(lengths: number | readonly number[]): void {
    this.#assertUsable('truncate()');
    const wanted =
      typeof lengths === 'number' ? (this.all[0] as Layer).moments[0]?.lengths.map(() => lengths) : lengths;
    checkArray('lengths', wanted);
    const isWanted = (moment: Moment) => String(moment.lengths) === String(wanted);
    const places = this.all.map(({ moments }) => moments.findLastIndex(isWanted));
    const isEmpty = (wanted as readonly number[]).every((length) => length === 0);
    const missing = places.indexOf(-1);
    if (missing >= 0 && !isEmpty) {
      const known = (this.all[missing] as Layer).moments.map((moment) => show(moment.lengths));
      throw new ParameterError(
        `lengths must be 0 or those of layer ${missing} at a state that is kept, ${known.join(' or ')}, got ${show(wanted)}`,
      );
    }
    for (const [at, layer] of this.all.entries()) {
      const none = { lengths: now(layer).lengths.map(() => 0), state: undefined };
      const kept = layer.moments.slice(0, (places[at] as number) + 1);
      const dropped = layer.moments.slice(kept.length);
      layer.moments = kept.length > 0 ? kept : [none];
      disposeOf(dropped, layer.moments);
    }
  }

  /** A cache whose row i continues from row `rows[i]` of this one; states are copied. */
  fork(rows: readonly number[]): RecurrentCache {
    this.#assertUsable('fork()');
    checkArray('rows', rows);
    const count = now(this.all[0] as Layer).lengths.length;
    if (rows.length === 0) throw new ParameterError('rows of fork() must be one at least, got an empty list');
    for (const [at, row] of rows.entries()) checkWhole(`rows[${at}]`, row, 0, count - 1);
    const layers = this.all.map(({ method, params, moments }): Layer => {
      const { lengths, state } = moments.at(-1) as Moment;
      const taken =
        state && this.runtime.scope(() => asRows(rows.map((row) => state.slice(0, row, row + 1) as Tensor<'f32'>)));
      if (taken) this.runtime.keepBeyondScopes(taken);
      return { method, params, moments: [{ lengths: rows.map((row) => lengths[row] as number), state: taken }] };
    });
    return new RecurrentCache(this.runtime, this.history, layers);
  }

  /** Frees the states. Disposing twice is harmless. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const layer of this.all) disposeOf(layer.moments, []);
  }

  [disposeKey](): void {
    this.dispose();
  }

  #forget(layer: Layer, most: number): void {
    const dropped = layer.moments.slice(0, -most);
    layer.moments = layer.moments.slice(-most);
    disposeOf(dropped, layer.moments);
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

function disposeOf(moments: readonly Moment[], kept: readonly Moment[]): void {
  const states = new Set(kept.map(({ state }) => state));
  for (const { state } of moments) if (!states.has(state)) state?.dispose();
}

/** Tensors [1, ...] as rows of one tensor, each by its own call, so that a fault of one does not affect the others. */
function asRows(parts: readonly Tensor<'f32'>[]): Tensor<'f32'> {
  const [{ runtime, shape }] = parts as [Tensor<'f32'>];
  // A tape knows no tensor that is written in parts.
  if (parts.some(({ variable }) => variable)) return concat(parts, 0);
  const all = runtime.empty([parts.length, ...shape.slice(1)]);
  for (const [row, part] of parts.entries()) contiguous(part, { out: all.slice(0, row, row + 1) });
  return all;
}

/** The results of the tokens, and the state after them; rows with different counts are computed one by one. */
function advance(
  { method, params }: Layer,
  inputs: Readonly<Record<string, Tensor>>,
  state: Tensor | undefined,
  counts: readonly number[],
  n: number,
  control: AppendOptions,
): { readonly out: Tensor; readonly state: Tensor | undefined } {
  const { signal } = control;
  const forward = (given: Readonly<Record<string, Tensor>>, before: Tensor | undefined) =>
    method.forward({ ...given, ...(before && { initial_state: before }) } as never, params as never, {
      signal,
    }) as Record<'out' | 'state', Tensor>;
  if (n > 0 && counts.every((count) => count === n)) {
    const { out, state: next } = forward(inputs, state);
    return { out, state: next };
  }
  if (counts.every((count) => count === 0)) return { out: nothingRead(method, inputs), state };
  const parts = counts.map((count, row) => {
    const before = state?.slice(0, row, row + 1);
    if (count === 0) return { state: before, out: undefined };
    const own = Object.entries(inputs).map(([name, x]) => [name, rowOf(method, name, x, row, count)]);
    const { out, state: after } = forward(Object.fromEntries(own), before);
    const behind = out.shape.map((_, axis): [number, number] => [0, axis === 1 ? n - count : 0]);
    return { out: pad(out as Tensor<'f32'>, behind), state: after };
  });
  const joined = (name: 'out' | 'state') => {
    const [{ shape, runtime }] = parts.flatMap((part) => part[name] ?? []) as [Tensor];
    return asRows(parts.map((part) => (part[name] ?? zeros(runtime, shape)) as Tensor<'f32'>));
  };
  return { out: joined('out'), state: joined('state') };
}

/** The result for no tokens, in the shape of the method's result. */
function nothingRead(method: Method, inputs: Readonly<Record<string, Tensor>>): Tensor {
  checkTensors(Object.fromEntries(Object.keys(method.inputs).map((name) => [name, inputs[name]])));
  const given = Object.entries(inputs);
  const extents = bindShapes(
    Object.fromEntries(given.map(([name]) => [name, lettersOf(method, name).join(' ')])),
    Object.fromEntries(given.map(([name, { shape }]) => [name, shape])),
  );
  const shape = (method.outputs.out as string).split(' ').map((letter) => extents[letter] as number);
  return zeros((inputs.q as Tensor).runtime, shape);
}

const lettersOf = (method: Method, name: string): string[] =>
  ((method.inputs as Record<string, string>)[name] ?? method.optional?.[name] ?? '').split(' ');

/** The first `count` tokens of a row of an input; of those that rows share, all. */
function rowOf(method: Method, name: string, x: Tensor, row: number, count: number): Tensor {
  const letters = lettersOf(method, name);
  const [batch, tokens] = [letters.indexOf('b'), letters.indexOf('n')];
  const own = batch >= 0 ? x.slice(batch, row, row + 1) : x;
  return tokens >= 0 ? own.slice(tokens, 0, count) : own;
}
