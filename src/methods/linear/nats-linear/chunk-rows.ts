import { gather } from '../../../ops/gather';
import type { Runtime } from '../../../runtime/runtime';
import { sizeOf } from '../../../tensor/shape';
import { disposeKey, type Tensor } from '../../../tensor/tensor';
import type { Problem } from './problem';

/** A result [b, n, ...row] that is written chunk by chunk: the tokens of a chunk lie together, batch after batch. */
export class ChunkRows {
  readonly #memory: Tensor<'f32'>;

  constructor(
    readonly runtime: Runtime,
    readonly problem: Problem,
    readonly row: readonly number[],
  ) {
    this.#memory = runtime.empty([problem.b * problem.n, sizeOf(row)]);
  }

  /** Where the chunk is to be written: a contiguous view [b, tokens of the chunk, ...row]. */
  at(chunk: number): Tensor<'f32'> {
    const { b, n, chunk: size } = this.problem;
    const [first, past] = [chunk * size, Math.min(n, (chunk + 1) * size)];
    using rows = this.#memory.slice(0, b * first, b * past);
    return rows.reshape([b, past - first, ...this.row]);
  }

  /** The tokens in order, [b, n, ...row]. */
  inOrder(): Tensor<'f32'> {
    const { b, n, chunk: size } = this.problem;
    if (b === 1) return this.#memory.reshape([b, n, ...this.row]);
    const places = Int32Array.from({ length: b * n }, (_, at) => {
      const [batch, token] = [Math.floor(at / n), at % n];
      const first = token - (token % size);
      return b * first + batch * Math.min(size, n - first) + (token - first);
    });
    using indices = this.runtime.tensor(places, [b, n], 'i32');
    using rows = gather(this.#memory, indices);
    return rows.reshape([b, n, ...this.row]);
  }

  [disposeKey](): void {
    this.#memory.dispose();
  }
}
