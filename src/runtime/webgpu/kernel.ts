/**
 * Kernels: a body in WGSL and a list of what it is given; the rest of the shader follows from the tensors.
 *
 * A body defines `fn run(task: u32, lane: u32)`, which a workgroup runs for its task. For an operand `x` it may call
 *
 *   load_x(i)               element i as f32 (as i32 where x holds integers), whatever the dtype
 *   load4_x(i)              four elements from i on along the last axis, for vector operands; what lies past the row is arbitrary
 *   store_x(i, value)       for operands that it writes, which hold f32 (or integers) whatever the tensor's dtype is
 *   store4_x(i, values, c)  the first c of four elements, for vector operands
 *   at_x(i0, i1, ..)        the i of an element, for operands with a rank
 *
 * and read `numbers.name` for its numbers. `numbers.infinity` is one that compilers do not see. Tensors that share a
 * buffer, lie at an offset, or are larger than a binding may be, need no thought in a body.
 */
import { bytesPerElement } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import { sizeOf } from '../../tensor/shape';

export interface OperandSpec {
  /** Updated: read and written. */
  readonly access: 'read' | 'write' | 'update';
  /** Axes of `at_x`; without them `i` counts contiguous elements. */
  readonly rank?: number;
  /** Read and written four elements at a time. */
  readonly vector?: boolean;
}

export interface Kernel {
  /** For messages. */
  readonly name: string;
  /** Invocations of a workgroup. */
  readonly invocations: number;
  readonly operands: Readonly<Record<string, OperandSpec>>;
  readonly numbers?: Readonly<Record<string, 'u32' | 'i32' | 'f32'>>;
  /** Whether the body uses subgroups; it may then read `subgroup_lane` and `subgroup_size`. */
  readonly subgroups?: boolean;
  /** Whether all its vector operands are read by elements if one must be: then there are only two shaders for a dtype. */
  readonly alike?: boolean;
  readonly body: string;
}

/** The elements of an operand. A kernel touches no others: only where these lie is bound. */
export type Region = Elements;

/** The elements of a contiguous region as one row. */
export const flat = ({ storage, dtype, shape, offset }: Region): Region => ({
  ...{ storage, dtype, offset },
  ...{ shape: [sizeOf(shape)], strides: [1] },
});

/** A kernel's work: `tasks` workgroups. */
export interface Dispatch {
  readonly kernel: Kernel;
  readonly operands: Readonly<Record<string, Region>>;
  readonly numbers: Readonly<Record<string, number>>;
  readonly tasks: number;
  /** Arithmetic of all tasks at most, roughly, so that long work can be cut. */
  readonly operations: number;
  /** What of it there is as a rule, if that is less: by this the device's speed is learned. */
  readonly usual?: number | undefined;
}

/** Numbers of a kernel by name, all u32. */
export const u32s = <Name extends string>(...names: readonly Name[]) =>
  Object.fromEntries(names.map((name) => [name, 'u32'])) as Readonly<Record<Name, 'u32'>>;

/** One kernel for each different variant, made on first use: equal kernels must be the same object. */
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
