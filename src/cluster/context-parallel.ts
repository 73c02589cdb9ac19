/** Ops on whole sequences, over ranks that each have some of the tokens. */
import { ParameterError } from '../errors';
import { attention } from '../ops/attention';
import { gatedDeltaRule } from '../ops/gated-delta-rule';
import { linearAttention } from '../ops/linear-attention';
import type { Mechanism } from '../simulate/context-parallel';
import type { Tensor } from '../tensor/tensor';
import {
  type DeltaRuleOptions,
  type ShardedLinearOptions,
  ShardedStates,
  type StatesParallelOptions,
} from './recurrent';
import type { Sequence } from './sequence';
import { type ContextParallelOptions, type Sharded, ShardedAttention, type ShardedOptions } from './sharded-attention';
import type { Shard } from './shards';

/** Attention of this rank's tokens to those of all, and what lies where. */
export interface ContextParallel {
  /**
   * q [b,t,h,d], k [b,t,g,d], v [b,t,g,e] of the t tokens of this rank; all ranks call it at the same point of the program.
   * @throws {ShapeError} another number of tokens than this rank has
   * @throws {ParameterError} heads that the ranks do not divide, if the mechanism divides heads
   */
  (q: Tensor, k: Tensor, v: Tensor, options?: ShardedOptions): Sharded;
  /** What each rank has, by rank. */
  readonly shards: readonly Shard[];
  /** The place in the sequence of each token of this rank. */
  readonly positions: Int32Array;
  /** Those of x that belong to this rank: x [..., tokens, ...] with the whole sequence along an axis, 1 unless said otherwise. */
  dispatch(x: Tensor, axis?: number): Tensor;
  /** The whole sequence, on each rank, from what each has of it. */
  undispatch(x: Tensor, axis?: number): Tensor;
  /** The mechanism for such queries and keys. */
  mechanismFor(q: Tensor, k: Tensor): Mechanism;
}

interface Dispatching extends Pick<ContextParallel, 'shards' | 'positions' | 'dispatch' | 'undispatch'> {}

export interface LinearParallel extends Dispatching {
  /** q [b,t,h,d], k [b,t,g,d], v [b,t,g,e] of the t tokens of this rank -> out [b,t,h,e]. */
  (q: Tensor, k: Tensor, v: Tensor, options?: ShardedLinearOptions): { readonly out: Tensor };
}

export interface DeltaRuleParallel extends Dispatching {
  /** q, k [b,t,h,d], v [b,t,h,e], g and beta [b,t,h] of the t tokens of this rank -> out [b,t,h,e]. */
  (q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, options?: DeltaRuleOptions): { readonly out: Tensor };
}

/**
 * Attention that goes on over ranks: each holds some tokens of the sequence, about equally many and with about the same work,
 * under any mask. Forward and backward; the tape records it. Memory is that of a rank's tokens, but for `all-gather`, which gathers
 * keys and values. Linear attention and the gated delta rule divide heads or pass states on.
 *
 * @throws {ParameterError} an unknown option, fewer tokens than ranks
 * @throws {ShapeError} a mask for another number of tokens
 */
export function contextParallel(op: typeof attention, options: ContextParallelOptions): ContextParallel;
export function contextParallel(op: typeof linearAttention, options: StatesParallelOptions): LinearParallel;
export function contextParallel(op: typeof gatedDeltaRule, options: StatesParallelOptions): DeltaRuleParallel;
export function contextParallel(
  op: typeof attention | typeof linearAttention | typeof gatedDeltaRule,
  options: ContextParallelOptions | StatesParallelOptions,
): ContextParallel | LinearParallel | DeltaRuleParallel {
  if (op === attention) {
    const plan = new ShardedAttention(options as ContextParallelOptions);
    const attend = (q: Tensor, k: Tensor, v: Tensor, given?: ShardedOptions) => plan.attend(q, k, v, given);
    const mechanismFor = (q: Tensor, k: Tensor) => plan.mechanismFor(q, k);
    return Object.assign(attend, { ...dispatching(plan), mechanismFor });
  }
  const plan = new ShardedStates(options as StatesParallelOptions);
  if (op === linearAttention) {
    const attend = (q: Tensor, k: Tensor, v: Tensor, given?: ShardedLinearOptions) => ({
      out: plan.linear([q, k, v], given),
    });
    return Object.assign(attend, dispatching(plan));
  }
  if (op !== gatedDeltaRule)
    throw new ParameterError('op of contextParallel() must be attention, linearAttention or gatedDeltaRule');
  const attend: (...given: Parameters<DeltaRuleParallel>) => { readonly out: Tensor } = (q, k, v, g, beta, given) => ({
    out: plan.deltaRule([q, k, v, g, beta], given),
  });
  return Object.assign(attend, dispatching(plan));
}

const dispatching = (plan: Sequence): Dispatching => ({
  shards: plan.shards,
  positions: plan.positions,
  dispatch: (x, axis = 1) => plan.dispatch(x, axis),
  undispatch: (x, axis = 1) => plan.undispatch(x, axis),
});
