import { disposeKey, type Tensor } from './tensor';

/**
 * Tensors of one computation: all are disposed at its end, or when it fails, except those it returns.
 * Unlike `runtime.scope()` it leaves alone what other work on the same runtime makes meanwhile.
 */
export class Temporaries {
  readonly #owned = new Set<Tensor>();

  /** Takes over a tensor, also one that is still being computed. */
  readonly own = async <T extends Tensor>(made: T | Promise<T>): Promise<T> => {
    const tensor = await made;
    this.#owned.add(tensor);
    return tensor;
  };

  /** Takes over all tensors of a result. */
  async ownAll<R extends object>(made: R | Promise<R>): Promise<R> {
    const result = await made;
    for (const tensor of Object.values(result) as (Tensor | undefined)[]) if (tensor) this.#owned.add(tensor);
    return result;
  }

  /** The tensors of a result, which then outlive the computation. */
  release<R extends object>(result: R): R {
    for (const tensor of Object.values(result) as Tensor[]) this.#owned.delete(tensor);
    return result;
  }

  [disposeKey](): void {
    for (const tensor of this.#owned) tensor.dispose();
    this.#owned.clear();
  }
}
