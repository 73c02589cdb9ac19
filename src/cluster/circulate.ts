/** Blocks of keys and values that go round among ranks, and what is computed for them on the way. */
import { add } from '../ops/map';
import type { Tensor } from '../tensor/tensor';

/** Ranks in a circle. */
export interface Ring {
  readonly size: number;
  readonly place: number;
  /** Gives x to the next rank and takes the tensor of the one before, which has so many tokens along axis 1. */
  shift(x: Tensor, tokens: number): Tensor;
}

/** What a rank computes of a block; what it returns, in the shapes of the block, is summed over all ranks. */
export type Visit = (block: readonly Tensor[], source: number) => readonly Tensor[] | undefined;

/**
 * Shows each rank the blocks of all ranks, its own first. Of several rings each place of an outer one is a whole inner one, in which
 * a block goes round before it is handed on. A block is sent on before it is visited, so that it travels meanwhile. Sums
 * of what visits return travel one step behind, and take as many steps as the blocks: what the own rank finds waits there.
 *
 * @param tokensOf tokens of the block of each rank, which are numbered with the innermost place last
 * @returns the sum for the own block, if visits return anything
 */
export function circulate(
  rings: readonly Ring[],
  block: readonly Tensor[],
  tokensOf: (source: number) => number,
  visit: Visit,
): readonly Tensor[] | undefined {
  const numberOf = (places: readonly number[]) =>
    places.reduce((number, place, level) => number * (rings[level] as Ring).size + place, 0);

  function within(level: number, block: readonly Tensor[], home: readonly number[]): readonly Tensor[] | undefined {
    const ring = rings[level];
    if (!ring) return visit(block, numberOf(home));
    const sourceAt = (step: number) =>
      home.map((place, at) => (at === level ? (ring.place - step + ring.size) % ring.size : place));
    const shifted = (tensors: readonly Tensor[], step: number) =>
      tensors.map((x) => ring.shift(x, tokensOf(numberOf(sourceAt(step)))));
    const handedOn = (sum: readonly Tensor[], step: number) => {
      const received = shifted(sum, step);
      dispose(sum);
      return received;
    };
    let held = block;
    let own: readonly Tensor[] | undefined;
    let travelling: readonly Tensor[] | undefined;
    for (let step = 0; step < ring.size; step++) {
      const next = step + 1 < ring.size ? shifted(held, step + 1) : [];
      const found = within(level + 1, held, sourceAt(step));
      if (step === 0) own = found;
      else {
        travelling = found && travelling ? sums(handedOn(travelling, step), found) : found;
        dispose(held);
      }
      held = next;
    }
    return own && travelling ? sums(handedOn(travelling, 0), own) : own;
  }

  return within(
    0,
    block,
    rings.map(({ place }) => place),
  );
}

/** The sums of two lists of tensors, which are disposed. */
function sums(a: readonly Tensor[], b: readonly Tensor[]): readonly Tensor[] {
  const all = a.map((x, at) => add(x, b[at] as Tensor));
  dispose(a);
  dispose(b);
  return all;
}

export function dispose(tensors: readonly Tensor[]): void {
  for (const each of tensors) each.dispose();
}
