/** A sequence whose tokens are divided among ranks. */
import { checkWhole } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkTensors } from '../ops/check';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { type Communicator, checkCommunicator } from './communicator';
import { positionsOf } from './part-mask';
import type { Shard } from './shards';
import { sideBySide } from './side-by-side';

export class Sequence {
  readonly own: Shard;

  constructor(
    readonly communicator: Communicator,
    /** By rank. */
    readonly shards: readonly Shard[],
  ) {
    this.own = shards[communicator.rank] as Shard;
  }

  /** The place in the sequence of each token of this rank. */
  get positions(): Int32Array {
    return positionsOf(this.own.runs);
  }

  /** The tokens of this rank, along an axis of a tensor that has all. */
  dispatch(x: Tensor, axis: number): Tensor {
    checkWhole('axis of dispatch()', axis, 0);
    this.checkTokens({ 'x of dispatch()': x }, axis, this.tokensOf(this.shards.keys()));
    return x.runtime.scope(() =>
      sideBySide(
        this.own.runs.map(([start, past]) => x.slice(axis, start, past)),
        axis,
      ),
    );
  }

  /** The tokens of all ranks in order. */
  undispatch(x: Tensor, axis: number): Tensor {
    checkWhole('axis of undispatch()', axis, 0);
    this.checkTokens({ 'x of undispatch()': x }, axis, this.own.tokens);
    return x.runtime.scope(() => {
      const counts = this.shards.map(({ tokens }) => tokens);
      const all = this.communicator.allGather(x, { axis, counts });
      let past = 0;
      const places = this.shards.flatMap(({ runs }) =>
        runs.map(([start, end]) => {
          past += end - start;
          return { start, from: past - (end - start), to: past };
        }),
      );
      if (places.every(({ start, from }) => start === from)) return all;
      places.sort((a, b) => a.start - b.start);
      return sideBySide(
        places.map(({ from, to }) => all.slice(axis, from, to)),
        axis,
      );
    });
  }

  /** Tokens of some ranks together. */
  tokensOf(ranks: Iterable<number>): number {
    let tokens = 0;
    for (const rank of ranks) tokens += (this.shards[rank] as Shard).tokens;
    return tokens;
  }

  /** Throws unless tensors have as many tokens along an axis as are expected. */
  checkTokens(tensors: Readonly<Record<string, Tensor>>, axis: number, expected: number): void {
    checkTensors(tensors);
    const { rank, size } = this.communicator;
    for (const [name, { shape }] of Object.entries(tensors))
      if (shape[axis] !== expected)
        throw new ShapeError(
          `${name} must have ${expected} tokens along axis ${axis} on rank ${rank} of ${size}, got ${formatShape(shape)}`,
        );
  }
}

/** Throws unless there is a communicator, and a token for each of its ranks. */
export function checkEnoughTokens(communicator: Communicator, tokens: number): void {
  checkCommunicator(communicator);
  const { size } = communicator;
  checkWhole('tokens', tokens, 1);
  if (tokens < size) throw new ParameterError(`tokens must be at least one for each of ${size} ranks, got ${tokens}`);
}
