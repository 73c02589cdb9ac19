/** Weights as products read them, which may be integers in blocks. */
import type { Runtime } from '../../runtime/runtime';
import type { DType } from '../../tensor/dtype';
import { formatShape, type Shape, sizeOf } from '../../tensor/shape';
import { disposeKey, type Tensor } from '../../tensor/tensor';
import { describesItself } from '../../text/inspect';
import type { Operand } from '../operand';
import type { PACKED_TYPES } from './params';

/**
 * Floats; `q8`, integers of 8 bits in blocks of 32 along rows with a scale in f16, 8.5 bits a number; `q4`, those of 4 bits
 * with a scale and, where its source has them, minima, 4.5 or 5 bits a number.
 */
export type PackedType = (typeof PACKED_TYPES)[number];

/** What a weight is made of; `values` are [rows, width], of q4 two in a byte: [rows, width / 2]. */
export interface PackedParts {
  readonly values: Tensor;
  /** For each block, [rows, width / 32]. A number is scale * integer + minimum; without minima integers of 4 bits count from -8. */
  readonly scales?: Tensor<'f16'> | undefined;
  readonly minima?: Tensor<'f16'> | undefined;
}

/**
 * A matrix [rows, width], such as the weight [out, in] of a layer, that is kept for products: `matmul`, `linear`, `embedding` and
 * decoders take it in the place of a tensor. It has no gradient of its own; products with it have one with respect to their
 * other factor. Made by `packWeight`; free it with `using` or `dispose()`, or leave it to the garbage collector.
 */
export class PackedWeight implements Operand {
  readonly isContiguous = true;
  readonly shape: Shape;

  /** @internal Made by `packWeight`. */
  constructor(
    readonly dtype: PackedType,
    [rows, width]: readonly [rows: number, width: number],
    /** @internal */
    readonly parts: PackedParts,
    /** Whether it is [width, rows], the transpose of what its parts hold. */
    readonly isTransposed = false,
  ) {
    this.shape = Object.freeze(isTransposed ? [width, rows] : [rows, width]);
  }

  /** The transpose, a view of the same memory: products with it sum over what is stored as rows. Each is disposed by itself. */
  transpose(): PackedWeight {
    const view = <T extends Tensor>(part: T): T => {
      const same = part.reshape(part.shape) as T;
      part.runtime.keepBeyondScopes(same);
      return same;
    };
    const { values, scales, minima } = this.parts;
    const parts = { values: view(values), scales: scales && view(scales), minima: minima && view(minima) };
    return new PackedWeight(this.dtype, this.#stored, parts, !this.isTransposed);
  }

  /** @internal The same weight [rows, width], not to be disposed. */
  get stored(): PackedWeight {
    return this.isTransposed ? new PackedWeight(this.dtype, this.#stored, this.parts) : this;
  }

  get #stored(): [rows: number, width: number] {
    const [rows, width] = this.shape as readonly [number, number];
    return this.isTransposed ? [width, rows] : [rows, width];
  }

  get size(): number {
    return sizeOf(this.shape);
  }

  get runtime(): Runtime {
    return this.parts.values.runtime;
  }

  /** Whether its numbers are integers in blocks. */
  get isQuantised(): boolean {
    return this.parts.scales !== undefined;
  }

  /** Such as `PackedWeight(q8 [3072, 1024] on wasm)`. */
  toString(): string {
    const isDisposed = this.parts.values.disposed ? ', disposed' : '';
    return `PackedWeight(${this.dtype} ${formatShape(this.shape)} on ${this.runtime.backend.name}${isDisposed})`;
  }

  assertUsable(use: string): void {
    this.parts.values.assertUsable(use);
  }

  /** Frees the memory. Disposing twice is harmless. */
  dispose(): void {
    for (const part of partsOf(this)) part.dispose();
  }

  [disposeKey](): void {
    this.dispose();
  }
}

describesItself(PackedWeight, 'PackedWeight');

/** The tensors that hold it. */
export const partsOf = ({ parts: { values, scales, minima } }: PackedWeight): readonly Tensor<DType>[] =>
  [values, scales, minima].filter((part) => part !== undefined);
