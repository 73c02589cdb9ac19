import type { Runtime } from '../runtime/runtime';
import type { Shape } from '../tensor/shape';

/**
 * What ops take: a tensor, or what keeps its elements in a layout of its own, such as a packed matrix or a layer of a cache. It
 * belongs to one runtime, and calls that read it take its faults over.
 */
export interface Operand {
  readonly runtime: Runtime;
  /** How its elements are stored. */
  readonly dtype: string;
  /** Its extents, whatever its layout. */
  readonly shape: Shape;
  /** Number of elements. */
  readonly size: number;
  /** Whether its elements lie as kernels need them. */
  readonly isContiguous: boolean;
  /** Set while a tape tracks it. */
  readonly variable?: unknown;
  /** Throws if it or its runtime was disposed; `use` begins the message. */
  assertUsable(use: string): void;
}

/** A class of operands other than tensors, and the axes that they have. */
export interface OperandForm<T extends Operand = Operand> {
  readonly kind: abstract new (...args: never) => T;
  /** Whether no tensor may be in its place. */
  readonly only?: boolean;
  readonly axes: string;
  /** How its elements may be stored, where that is not as a tensor's. */
  readonly dtypes?: readonly string[];
}
