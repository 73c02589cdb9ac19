/** How methods go on from tokens that they have seen, and so what decoding keeps of these. */
import { checkChoice, checkFunction, checkRecord, show } from '../check';
import { ParameterError } from '../errors';
import type { CacheLayer, CacheLayerOptions } from '../ops/cache/layer';
import type { CacheDType } from '../ops/cache/layout';
import type { RopeOptions } from '../ops/rope';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';

/** From a state of fixed size. */
export interface FromState {
  readonly from: 'state';
  /** By the optional inputs that take it: the outputs of the call before. */
  readonly state: Readonly<Record<string, string>>;
  /**
   * In place of `forward`, for a state that is neither input nor output of it: the result `out`, as `forward` of all tokens would
   * give it for the last ones, and the outputs that `state` names, with an axis of rows first. `inputs` has them from the call
   * before, none at first.
   */
  readonly advance?: ((inputs: Readonly<Record<string, Tensor>>, options: AdvanceOptions) => Advanced) | undefined;
}

export interface AdvanceOptions extends Control {
  /** How many tokens each row has seen before; the state of one that has seen none may be zeros. */
  readonly lengths: readonly number[];
}

export type Advanced = Readonly<Record<string, Tensor | undefined>> & { readonly out: Tensor };

export interface AttendOptions extends Control {
  /** How many of the inputs' tokens belong to each row: its first ones, which are the last in the cache. */
  readonly counts: readonly number[];
}

/** What a method keeps of the rows of a layer beside keys and values, such as an index. */
export interface Memory {
  /** Bytes of memory. */
  readonly bytes: number;
  /** The first `lengths[r]` tokens of each row stay. */
  truncate(lengths: readonly number[]): void;
  /** That of a cache whose row i continues from row `rows[i]`. */
  fork(rows: readonly number[]): Memory;
  /** That of all rows of this one and others, which have `rows[i]` each. */
  join(others: readonly Memory[], rows: readonly number[]): Memory;
  /** What it keeps as tensors of a file, for the keys of its layer. */
  save(keys: CacheLayer): Promise<Record<string, HostTensor>>;
  /** Takes what `save` gave for the same keys. */
  restore(saved: Readonly<Record<string, HostTensor>>, keys: CacheLayer): Promise<void>;
  dispose(): void;
}

/** From keys and values in a cache: those that a mask sees, or that `attend` chooses at each step. */
export interface FromKeys extends CacheLayerOptions {
  readonly from: 'keys';
  /** Makes what `attend` keeps beside keys and values; one for each layer of a cache. */
  readonly memory?: (() => Memory) | undefined;
  /**
   * The result for the tokens appended last, from their inputs, such as q, and from all keys and values, theirs among them; as
   * `forward` of all tokens would give it.
   */
  attend(
    inputs: Readonly<Record<string, Tensor>>,
    keys: CacheLayer,
    options: AttendOptions,
    memory: Memory | undefined,
  ): Tensor;
}

/** Anew at each step, from the inputs of all tokens. */
export interface FromInputs {
  readonly from: 'inputs';
  /**
   * Whether the results of earlier tokens change as more come, so that layers after this one would have to begin anew as well:
   * only the last layer of a model can go on then. Default false.
   */
  readonly revises?: boolean | undefined;
  /**
   * Whether inputs with an axis n, such as queries, need to be those of the last tokens only: keys, with an axis m, of all tokens give
   * these the same results. Default false.
   */
  readonly lastQueries?: boolean | undefined;
}

/** Queries or keys [b, n, h, d] rotated by positions [n] or [b, n], or from a first one on. */
export type Rotate = (x: Tensor, positions: NonNullable<RopeOptions['positions']>) => Tensor;

/** Adds to inputs those that follow from the inputs of all tokens. */
export type Complete = (inputs: Readonly<Record<string, Tensor>>) => Readonly<Record<string, Tensor>>;

/** What a layer keeps by itself; queries and keys come to it as they are before they are rotated by their positions. */
export interface OwnCache {
  /** Tokens that each row has seen. */
  readonly lengths: readonly number[];
  /** The memory that is held, and the part of it that is read only here and there, so that it may lie in slow memory. */
  readonly bytes: number;
  readonly slowBytes: number;
  /**
   * The results for the first `counts[r]` tokens of each row, q [rows, n, h, d], k and v, which it has from then on. `complete` is
   * there if the method's layer is sequential, and may be given what it was given before beside these.
   */
  append(
    inputs: Readonly<Record<string, Tensor>>,
    options: AttendOptions,
    rotate: Rotate,
    complete?: Complete | undefined,
  ): Tensor;
  /** How many tokens a row can be taken back to beside none, as intervals in ascending order; default: any number. */
  reach?(row: number): readonly (readonly [least: number, most: number])[];
  /** Takes tokens back: of each row the first `lengths[r]` stay. */
  truncate(lengths: readonly number[]): void;
  /** A cache whose row i continues from row `rows[i]` of this one. */
  fork(rows: readonly number[]): OwnCache;
  /** A cache with the rows of this one and of others, its forks. */
  join(others: readonly OwnCache[]): OwnCache;
  dispose(): void;
}

/** What a cache of a layer's own is for. */
export interface OwnCachePlace extends Readonly<Record<'rows' | 'heads' | 'keyHeads' | 'd' | 'e', number>> {
  readonly runtime: Runtime;
  readonly dtype: CacheDType;
  /** How many of the last calls of `append` must be possible to take back; any number may be. */
  readonly history: number;
}

/** From a cache of its own. */
export interface FromOwn {
  readonly from: 'own';
  open(place: OwnCachePlace): OwnCache;
}

export type Continuation = FromState | FromKeys | FromInputs | FromOwn;

interface Declared {
  readonly name: string;
  readonly optional?: Readonly<Record<string, string>> | undefined;
  readonly outputs: Readonly<Record<string, string>>;
}

/** What a method does that says nothing: from its state, if it takes `initial_state` and gives `state`, else anew. */
export function usualContinuation({ optional = {}, outputs }: Declared): Continuation {
  const hasState = Object.hasOwn(optional, 'initial_state') && Object.hasOwn(outputs, 'state');
  return hasState ? { from: 'state', state: { initial_state: 'state' } } : { from: 'inputs' };
}

/** @throws {ParameterError} one that decoding cannot follow */
export function checkContinuation({ name, optional = {}, outputs }: Declared, given: Continuation): void {
  const what = `continuation of ${name}`;
  checkRecord(what, given);
  checkChoice(`from of ${what}`, given.from, ['state', 'keys', 'inputs', 'own']);
  if (given.from === 'keys') checkFunction(`attend of ${what}`, given.attend);
  if (given.from === 'own') checkFunction(`open of ${what}`, given.open);
  if (given.from !== 'state') return;
  checkRecord(`state of ${what}`, given.state);
  if (given.advance !== undefined) {
    checkFunction(`advance of ${what}`, given.advance);
    return;
  }
  for (const [input, output] of Object.entries(given.state))
    if (!Object.hasOwn(optional, input) || !Object.hasOwn(outputs, output))
      throw new ParameterError(
        `state of ${what} must name optional inputs and their outputs, got ${show(output)} for ${input}`,
      );
}
