/** Embeddings of tokens, and of positions that are learned. */
import { ParameterError } from '../../../errors';
import type { Described } from '../../../nn/module';
import { contiguous } from '../../../ops/copy';
import { embedding } from '../../../ops/gather';
import { add, multiply } from '../../../ops/map';
import type { PackedWeight } from '../../../ops/packed';
import { Tensor } from '../../../tensor/tensor';
import type { Embedding, EmbeddingContext } from './architecture';

/** The rows of `table` [vocabulary, width] for the tokens. */
export function tokenEmbedding(table: string, parameters: Described): Embedding {
  return {
    table,
    parameters,
    forward: (tokens, given, { signal }) =>
      embedding(given[table] as Tensor | PackedWeight, contiguous(tokens), { signal }),
  };
}

/** The same, times a factor. */
export function scaledEmbedding(rows: Embedding, factor: number): Embedding {
  return {
    ...rows,
    forward: (tokens, given, control) =>
      multiply(rows.forward(tokens, given, control), tokens.runtime.tensor([factor], [1]), { signal: control.signal }),
  };
}

/** The same, and the rows of `places` [context, width] for their positions. */
export function learnedPositions(tokens: Embedding, places: string, context: number): Embedding {
  return {
    ...tokens,
    forward(x, given, control) {
      const rows = embedding(given[places] as Tensor | PackedWeight, positionsOf(x, control.positions, context), {
        signal: control.signal,
      });
      return add(tokens.forward(x, given, control), rows);
    },
  };
}

/** [n] or [b, n] i32. */
function positionsOf(tokens: Tensor, given: EmbeddingContext['positions'], context: number): Tensor {
  if (given instanceof Tensor) return given;
  const [n, first] = [tokens.shape[1] as number, given?.offset ?? 0];
  if (first + n > context)
    throw new ParameterError(`tokens must be at most ${context}, for which there are positions, got ${first + n}`);
  return tokens.runtime.tensor(
    Int32Array.from({ length: n }, (_, at) => first + at),
    [n],
  );
}
