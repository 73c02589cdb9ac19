/** How methods go on from tokens that they have seen, and so what decoding keeps of these. */
import { checkChoice, checkFunction, checkRecord, show } from '../check';
import { ParameterError } from '../errors';
import type { CacheLayer, CacheLayerOptions } from '../ops/cache/layer';
import type { Control } from '../runtime/backend';
import type { Tensor } from '../tensor/tensor';

/** From a state of fixed size. */
export interface FromState {
  readonly from: 'state';
  /** By the optional inputs that take it: the outputs of the call before. */
  readonly state: Readonly<Record<string, string>>;
}

export interface AttendOptions extends Control {
  /** How many of the inputs' tokens belong to each row: its first ones, which are the last in the cache. */
  readonly counts: readonly number[];
}

/** What a method keeps of the rows of a layer beside keys and values, such as an index. */
export interface Memory {
  /** Bytes of memory. */
  readonly bytes: number;
  /** Of each row the first `lengths[r]` tokens stay. */
  truncate(lengths: readonly number[]): void;
  /** That of a cache whose row i continues from row `rows[i]`. */
  fork(rows: readonly number[]): Memory;
  /** That of all rows of this one and others, which have `rows[i]` each. */
  join(others: readonly Memory[], rows: readonly number[]): Memory;
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
}

export type Continuation = FromState | FromKeys | FromInputs;

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
  checkChoice(`from of ${what}`, given.from, ['state', 'keys', 'inputs']);
  if (given.from === 'keys') checkFunction(`attend of ${what}`, given.attend);
  if (given.from !== 'state') return;
  checkRecord(`state of ${what}`, given.state);
  for (const [input, output] of Object.entries(given.state))
    if (!Object.hasOwn(optional, input) || !Object.hasOwn(outputs, output))
      throw new ParameterError(
        `state of ${what} must name optional inputs and their outputs, got ${show(output)} for ${input}`,
      );
}
