/** Tasks: sequences with questions whose answers are known, made by a seed. Letters: b sequences, n tokens. */
import { checkWhole } from '../../check';
import { type HostTensor, hostTensor } from '../../tensor/host';
import { uniformGenerator } from '../../tensor/random';

/** The target of tokens without a question. */
export const IGNORED = -100;

/** Sequences and their answers. */
export interface Examples {
  /** [b, n] i32. */
  readonly tokens: HostTensor<'i32'>;
  /** The answer at each token, which depends on no later one, [b, n] i32: a token, or `IGNORED`. */
  readonly targets: HostTensor<'i32'>;
}

/** A task with known answers, to compare methods. */
export interface Task {
  readonly name: string;
  /** Tokens are from 0 to below it. */
  readonly vocabulary: number;
  /** Tokens of a sequence, n. */
  readonly length: number;
  /** The share of answers that guessing gets right. */
  readonly chance: number;
  /** `count` sequences, which depend on the seed alone. */
  examples(count: number, seed: number): Examples;
}

/** Uniform in [0, 1). */
export type Random = () => number;

/** A task from what writes one sequence; `targets` are `IGNORED` before. */
export function taskOf(
  name: string,
  extents: Omit<Task, 'name' | 'examples'>,
  write: (tokens: Int32Array, targets: Int32Array, random: Random) => void,
): Task {
  const { length } = extents;
  return {
    name,
    ...extents,
    examples(count, seed) {
      checkWhole('count', count, 1);
      const random = uniformGenerator(seed);
      const tokens = new Int32Array(count * length);
      const targets = new Int32Array(count * length).fill(IGNORED);
      for (let first = 0; first < tokens.length; first += length)
        write(tokens.subarray(first, first + length), targets.subarray(first, first + length), random);
      return { tokens: hostTensor(tokens, [count, length]), targets: hostTensor(targets, [count, length]) };
    },
  };
}

/** A whole number from 0 to below `past`. */
export const below = (past: number, random: Random): number => Math.floor(past * random());

/** `count` different whole numbers from 0 to below `past`, in any order. */
export function distinct(count: number, past: number, random: Random): Int32Array {
  const all = Int32Array.from({ length: past }, (_, at) => at);
  for (let at = 0; at < count; at++) {
    const other = at + below(past - at, random);
    [all[at], all[other]] = [all[other] as number, all[at] as number];
  }
  return all.subarray(0, count);
}
