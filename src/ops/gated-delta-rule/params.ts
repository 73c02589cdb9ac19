import { Contiguous, Operand } from '../../runtime/cpu/params';
import { fields, struct } from '../../runtime/cpu/struct';

/** The most tokens of a chunk. */
export const CHUNK = 48;

export const Problem = struct({
  ...fields('i32', 'n', 'h', 'd', 'e'),
  scale: 'f64',
  chunks: 'i32',
  /** Most tokens of a chunk, and after how many the next one starts anyway: where there are states to store. */
  ...fields('i32', 'length', 'every'),
  /** Heads of all batches, and how many one task takes. */
  ...fields('i32', 'heads', 'group'),
  /** Parts of the value columns, each a task of its own. */
  parts: 'i32',
  /** Working states, [b * h][slices of e][d in whole panels, zeros first, then the tokens of a chunk][8]. */
  work: 'usize',
  ...fields(Operand, 'q', 'k', 'v', 'g', 'beta'),
  /** Before the first token; address 0 for none. */
  initialState: Operand,
});

/** `states` is address 0 where none are wanted. */
export const ForwardParams = struct({ problem: Problem, out: Contiguous, state: 'tensor', states: 'tensor' });

export const BackwardParams = struct({
  problem: Problem,
  /** What is kept of the chunks, columns in whole slices, one "batch" each: [b * h * (chunks + 1)][d][e], before each and after the last. */
  states: Operand,
  /** [b * h][chunks * length][e]. */
  errors: Operand,
  /** As the states, and as the errors. */
  ...fields(Operand, 'gradStates', 'gradWrites'),
  gradOut: Operand,
  /** By the state after the last token; address 0 for none. */
  gradState: Operand,
  /** Where the gradients go; address 0: not wanted. */
  ...fields(Contiguous, 'gradQ', 'gradK', 'gradV', 'gradG', 'gradBeta'),
  gradInitialState: Contiguous,
  /** By the states before every so many tokens, and these in all: [b, times, h, d, e] f32; address 0 for none. */
  ...fields('tensor', 'byStates', 'totals'),
});
