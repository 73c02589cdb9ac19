import type { Expected } from '../measure/gate';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import type { Tensor } from '../tensor/tensor';
import type { Task } from './contender';
import type { Given } from './given';
import type { Inputs, Problem } from './problem';

/** What a problem computes, with h heads of d features and d value columns. */
export interface Operation {
  /** Tells it from other operations. */
  readonly name: string;
  /** With which power of the tokens its time grows; default: 1. */
  readonly growth?: number;
  /** Whether it takes a loss's gradient with respect to a result, beside q, k and v. */
  readonly takesGradient?: boolean;
  /** Useful multiplications and additions; 0 where bytes count, not arithmetic. */
  flops(problem: Problem): number;
  /** Numbers in a result, as `Session.result` gives it. */
  size(problem: Problem): number;
  /** Bytes of inputs and results: what is held beyond them is working memory. */
  bytes(problem: Problem): number;
  /** What the first call should give, or some of it. */
  expected(problem: Problem, inputs: Inputs): readonly Expected[];
  /** What peers are given in the place of attention's q, k and v; operations without it are not for peers. */
  given?(problem: Problem): Given;
  open(runtime: Runtime, task: Task): Call;
}

/** A call on tensors that it holds. */
interface Call {
  call(control: Control): unknown;
  /** Reads a number of the last call's result. */
  readOne?(): Promise<unknown>;
  result(): Promise<Float32Array>;
  /** What is held, also between calls. */
  readonly tensors: readonly Pick<Tensor, 'dispose'>[];
}
