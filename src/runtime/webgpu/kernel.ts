/**
 * Kernels: a body in WGSL and its operands; the rest of the shader follows from the tensors (shader.ts).
 *
 * A body defines `fn run(task: u32, lane: u32)`, which a workgroup runs for each of its tasks. For an operand `x` it may call
 *
 *   load_x(i)               element i as f32 (as i32 where x holds integers), whatever the dtype
 *   load4_x(i)              four elements from i on along the last axis, for vector operands; arbitrary beyond the row
 *   store_x(i, value)       for operands that are written, which hold f32 (or integers) whatever the tensor's dtype
 *   store4_x(i, values, c)  the first c of four elements, for vector operands
 *   at_x(i0, i1, ..)        the i of an element, for operands with a rank
 *
 * and read its numbers as `numbers.name`; `numbers.infinity` is infinity, unknown to compilers. A body need not care about
 * tensors that share a buffer, begin at an offset, or are larger than a binding may be.
 */
import { bytesPerElement } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import { sizeOf } from '../../tensor/shape';

export interface OperandSpec {
  /** `update`: read and written. */
  readonly access: 'read' | 'write' | 'update';
  /** Number of axes of `at_x`; without it `i` counts contiguous elements. */
  readonly rank?: number;
  /** Read and written four elements at a time. */
  readonly vector?: boolean;
}

export interface Kernel {
  /** For error messages. */
  readonly name: string;
  /** Invocations of a workgroup. */
  readonly invocations: number;
  readonly operands: Readonly<Record<string, OperandSpec>>;
  readonly numbers?: Readonly<Record<string, 'u32' | 'i32' | 'f32'>>;
  /** Whether the body uses subgroups, and may read `subgroup_lane` and `subgroup_size`. */
  readonly subgroups?: boolean;
  /** Whether all vector operands are read by elements if one must be: then there are only two shaders for each dtype. */
  readonly alike?: boolean;
  readonly body: string;
}

/** The elements of an operand; only their part of the buffer is bound. */
export type Region = Elements;

/** The elements of a contiguous region as one row. */
export const flat = ({ storage, dtype, shape, offset }: Region): Region => ({
  storage,
  dtype,
  offset,
  shape: [sizeOf(shape)],
  strides: [1],
});

/** `tasks` workgroups of a kernel. */
export interface Dispatch {
  readonly kernel: Kernel;
  readonly operands: Readonly<Record<string, Region>>;
  readonly numbers: Readonly<Record<string, number>>;
  readonly tasks: number;
  /** Rough upper bound of the arithmetic of all tasks, by which long work is cut. */
  readonly operations: number;
  /** The usual arithmetic, if it is less: the device's speed is measured by it. */
  readonly usual?: number | undefined;
}

/** Numbers of a kernel by name, all u32. */
export const u32s = <Name extends string>(...names: readonly Name[]) =>
  Object.fromEntries(names.map((name) => [name, 'u32'])) as Readonly<Record<Name, 'u32'>>;

/** Makes each variant once, on first use: equal kernels must be the same object. */
export function variants<V>(make: (variant: V) => Kernel): (variant: V) => Kernel {
  const known = new Map<string, Kernel>();
  return (variant) => {
    const key = JSON.stringify(variant);
    const found = known.get(key) ?? make(variant);
    known.set(key, found);
    return found;
  };
}

/** Bytes of a region's elements. */
export const regionBytes = ({ shape, dtype }: Region) => sizeOf(shape) * bytesPerElement(dtype);
