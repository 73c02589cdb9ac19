import { checkOptions, checkWhole } from '../../check';
import { below, type Task, taskOf } from './task';

export interface StateTrackingOptions {
  /** Tokens of a sequence; default 64. */
  readonly length?: number | undefined;
  /** The number of items permuted: 3 for the group S3, 5 for S5, whose words no constant depth of attention can solve; default 3. */
  readonly items?: number | undefined;
}

/**
 * The word problem of a symmetric group: a token is a permutation, in the order of the alphabet, and to be answered is that
 * which all up to it make together, the first applied first.
 * Source: Merrill, Petty and Sabharwal 2024, The Illusion of State in State-Space Models, arXiv 2404.08819.
 */
export function stateTracking(options: StateTrackingOptions = {}): Task {
  checkOptions('stateTracking', options, ['length', 'items']);
  const { length = 64, items = 3 } = options;
  checkWhole('length', length, 1);
  checkWhole('items', items, 2, 6);
  const elements = permutations(items);
  const size = elements.length;
  const numbers = new Map(elements.map((each, at) => [each.join(), at]));
  const product = (first: number, then: number) => {
    const after = elements[then] as readonly number[];
    return numbers.get((elements[first] as readonly number[]).map((item) => after[item]).join()) as number;
  };
  const products = Int32Array.from({ length: size * size }, (_, at) => product(Math.floor(at / size), at % size));
  return taskOf(
    `state-tracking-s${items}`,
    { vocabulary: size, length, chance: 1 / size },
    (tokens, targets, random) => {
      let state = 0;
      for (let at = 0; at < length; at++) {
        const next = below(size, random);
        state = products[state * size + next] as number;
        tokens[at] = next;
        targets[at] = state;
      }
    },
  );
}

/** All permutations of 0 to `items` - 1, the identity first. */
function permutations(items: number): readonly (readonly number[])[] {
  const rest = Array.from({ length: items }, (_, item) => item);
  const all = (left: readonly number[]): number[][] =>
    left.length === 0
      ? [[]]
      : left.flatMap((item) => all(left.filter((other) => other !== item)).map((others) => [item, ...others]));
  return all(rest);
}
