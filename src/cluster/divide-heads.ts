/** Exchanges between the own tokens of all heads and all tokens of some heads, among ranks that divide heads. */
import { contiguous } from '../ops/copy';
import type { Tensor } from '../tensor/tensor';
import type { Communicator } from './communicator';

/** Ranks that divide heads, and how many tokens each has. */
export interface HeadsGroup {
  readonly communicator: Communicator;
  readonly ranks: readonly number[];
  readonly tokens: readonly number[];
}

/**
 * x [b, t, h, ...], the tokens of this rank -> [b, all tokens, heads of this rank, ...], those of the first rank first. Where there are
 * fewer heads than ranks, neighbouring ranks get the same one.
 */
export function divideHeads(x: Tensor, { communicator, ranks, tokens }: HeadsGroup): Tensor {
  const [b, t, h, ...columns] = x.shape as [number, number, number, ...number[]];
  const copies = Math.max(1, ranks.length / h);
  const repeated = () => {
    const each = x.reshape([b, t, h, 1, ...columns]).expand([b, t, h, copies, ...columns]);
    return contiguous(each).reshape([b, t, h * copies, ...columns]);
  };
  const heads = ranks.map(() => (h * copies) / ranks.length);
  return communicator.allToAll(copies > 1 ? repeated() : x, {
    split: 2,
    concat: 1,
    counts: ofAll(communicator, ranks, heads),
    received: ofAll(communicator, ranks, tokens),
  });
}

/** The way back: x [b, all tokens, heads of this rank, ...] -> [b, t, h, ...]. */
export function joinHeads(x: Tensor, { communicator, ranks, tokens }: HeadsGroup): Tensor {
  const heads = ranks.map(() => x.shape[2] as number);
  return communicator.allToAll(x, {
    split: 1,
    concat: 2,
    counts: ofAll(communicator, ranks, tokens),
    received: ofAll(communicator, ranks, heads),
  });
}

/** A number for each rank of a communicator, 0 for those outside the group. */
function ofAll({ size }: Communicator, ranks: readonly number[], counts: readonly number[]): number[] {
  const all = new Array<number>(size).fill(0);
  for (const [at, rank] of ranks.entries()) all[rank] = counts[at] as number;
  return all;
}
