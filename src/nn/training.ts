/** What a forward pass of training does that inference does not. */
import { checkRecord, show } from '../check';
import { DTypeError, ParameterError, ShapeError } from '../errors';
import { checkTensors } from '../ops/check';
import { contiguous } from '../ops/copy';
import { stopGradient } from '../tape';
import { formatShape, sameShape } from '../tensor/shape';
import type { Storage } from '../tensor/storage';
import type { Tensor } from '../tensor/tensor';

/**
 * Passed to modules as `training` of their control. Buffers keep their values while the pass goes on, so that a block which
 * `recompute` calls again computes the same; `apply` gives them the new ones.
 */
export class TrainingPass {
  readonly #updates = new Map<Storage, Tensor>();

  /** @param seed of what modules draw at random, such as dropout: another one for each pass; default 0 */
  constructor(readonly seed: number = 0) {
    if (!Number.isSafeInteger(seed)) throw new ParameterError(`seed must be an integer, got ${show(seed)}`);
  }

  /**
   * For modules: the value of a buffer after this pass, f32, without a gradient. The last one counts.
   *
   * @throws {ParameterError | ShapeError | DTypeError} a buffer that a tape tracks, a value that does not fit
   */
  update(buffer: Tensor, value: Tensor): void {
    checkTensors({ buffer, value });
    if (buffer.variable)
      throw new ParameterError(
        'buffer is tracked by a tape: differentiate with respect to parameters only, see splitBuffers()',
      );
    for (const [name, { dtype }] of Object.entries({ buffer, value }))
      if (dtype !== 'f32') throw new DTypeError(`${name} must be f32, got ${dtype}`);
    if (!sameShape(buffer.shape, value.shape))
      throw new ShapeError(
        `value must have the shape ${formatShape(buffer.shape)} of buffer, got ${formatShape(value.shape)}`,
      );
    const next = stopGradient(value);
    next.runtime.keepBeyondScopes(next);
    this.#updates.get(buffer.storage)?.dispose();
    this.#updates.set(buffer.storage, next);
  }

  /**
   * Writes the new values to the buffers, by name, that modules updated, once gradients were computed.
   *
   * @throws {ParameterError} if modules updated a buffer that is not among these
   */
  apply(buffers: Readonly<Record<string, Tensor>>): void {
    checkRecord('buffers', buffers);
    checkTensors(buffers);
    for (const buffer of Object.values(buffers)) {
      const value = this.#updates.get(buffer.storage);
      if (!value) continue;
      contiguous(value, { out: buffer });
      value.dispose();
      this.#updates.delete(buffer.storage);
    }
    const { size } = this.#updates;
    this.dispose();
    if (size > 0) throw new ParameterError(`buffers must be all that the pass updated, got ${size} too few`);
  }

  /** Frees new values that are not needed. */
  dispose(): void {
    for (const value of this.#updates.values()) value.dispose();
    this.#updates.clear();
  }
}
