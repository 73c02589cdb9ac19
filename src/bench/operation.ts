import type { Runtime } from '../runtime/runtime';
import type { Task } from './contender';
import type { Expected } from './expected';
import type { Inputs, Problem } from './problem';
import type { Call } from './saccade';

/** What a problem computes in the place of softmax attention, with h heads of d features and d value columns. */
export interface Operation {
  /** Tells it from other operations. */
  readonly name: string;
  /** Useful multiplications and additions; 0 where bytes count, not arithmetic. */
  flops(problem: Problem): number;
  /** Numbers in a result, as `Session.result` gives it. */
  size(problem: Problem): number;
  /** Bytes of inputs and results: what is held beyond them is working memory. */
  bytes(problem: Problem): number;
  /** What the first call should give, or some of it. */
  expected(problem: Problem, inputs: Inputs): readonly Expected[];
  open(runtime: Runtime, task: Task): Call;
}
