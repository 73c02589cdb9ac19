/** Plans of calls for the CPU: jobs over one heap, and tensors as their kernels read them. */

import { BackendError } from '../../errors';
import { bytesPerElement, type DType } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import { lastElement } from '../../tensor/shape';
import type { Native } from '../native/open';
import type { Steps } from '../turns';
import type { KernelFiles } from '../wasm/files';
import type { HeapBuffer, HeapMemory } from './heap';
import { FLOATS, MOST_HEADS, type Operand } from './params';
import type { Values } from './struct';

/** Rough speeds of one thread, to tell small jobs from large ones. */
export const FLOPS_PER_MICROSECOND = 40_000;
/** Passing over elements. */
export const ELEMENTS_PER_MICROSECOND = 500;
/** The time of machine code that does so, of theirs. */
export const CODE_SHARE = 0.2;
/** Reading memory. */
export const BYTES_PER_MICROSECOND = 15_000;

/** What a plan may depend on. */
export interface Machine {
  readonly memory: HeapMemory;
  /** At least 1. */
  readonly threads: number;
  /** Machine code of this process, if it may be run. */
  readonly native?: Native | undefined;
}

/** A plan whose kernels are machine code; undefined for a call that it does not cover. */
export type NativePlan<Call> = (
  call: Call,
  machine: Machine & { readonly native: Native },
) => Plan | Steps<Plan> | undefined;

/** A kernel run for the tasks 0, 1, 2, ...; it ends for all threads before the next phase begins. */
export interface Phase {
  /** Its export. */
  readonly kernel: string;
  readonly tasks: number;
  /** The address of machine code that does the same, by tiles of its own. */
  readonly code?: number | undefined;
  /** Whether it has nearly all of the work, so that progress is measured by it; default: the last phase. */
  readonly main?: boolean;
}

export interface Job {
  readonly phases: readonly Phase[];
  /** In the order of the kernels' Params. */
  readonly params: readonly number[];
  /** Roughly, on one thread. */
  readonly microseconds: number;
}

/** The address of a table's copy. */
type AddressOf = (table: Float32Array | Int32Array) => number;

/** Working memory by name, in bytes, and the jobs once their addresses are known. */
export interface Plan {
  readonly bytes?: Readonly<Record<string, number>>;
  /** The files of its kernels, where they are not those of the op. */
  readonly kernels?: KernelFiles | undefined;
  /** Whether the kernels run programs. */
  readonly interprets?: boolean;
  /** Tables that programs read: copies stay in the heap from call to call. */
  readonly tables?: readonly (Float32Array | Int32Array)[];
  /** One of several ways that was chosen, and why: a fact for `explain()`. */
  readonly choice?: string | undefined;
  jobs(addresses: Readonly<Record<string, number>>, addressOf: AddressOf): readonly Job[];
}

export type NativePlans = Readonly<Record<string, NativePlan<never>>>;

/** A plan with working memory, by names that are checked. */
export function withMemory<Name extends string>(
  bytes: Readonly<Record<Name, number>>,
  jobs: (addresses: Readonly<Record<Name, number>>, addressOf: AddressOf) => readonly Job[],
): Plan {
  return { bytes, jobs };
}

/** A plan of one kernel that passes over elements. */
export function overElements(
  kernel: string,
  tasks: number,
  params: readonly number[],
  elements: number,
  code?: number,
): Plan {
  const microseconds = ((code ? CODE_SHARE : 1) * elements) / ELEMENTS_PER_MICROSECOND;
  return { jobs: () => [{ phases: [{ kernel, tasks, code }], params, microseconds }] };
}

/** The address of the first element; 0 for no tensor. */
export function address(x: Elements | undefined): number {
  return x ? (x.storage.buffer as HeapBuffer).address + x.offset * bytesPerElement(x.dtype) : 0;
}

/** Throws unless all elements lie in the tensor's memory: machine code does not trap where they do not. */
export function checkInside(x: Elements): void {
  const past = (lastElement(x.shape, x.strides, x.offset) + 1) * bytesPerElement(x.dtype);
  if (x.offset < 0 || past > (x.storage.buffer as HeapBuffer).bytes)
    throw new BackendError(
      `a tensor of shape [${x.shape}] reaches byte ${past} of ${(x.storage.buffer as HeapBuffer).bytes}`,
    );
}

/** A contiguous tensor of floats. */
export function contiguous(x: Elements) {
  return { address: address(x), dtype: codeOf(x.dtype) };
}

/** The kernels' code for a floating-point dtype. */
export const codeOf = (dtype: DType) => (FLOATS as readonly DType[]).indexOf(dtype);

export const F32 = codeOf('f32');

/** A tensor of floats [batch, row, head, element], with these strides. */
export function operand(x: Elements, strides = x.strides): Values<typeof Operand> {
  const [batch, row, head, element] = strides as [number, number, number, number];
  return { ...contiguous(x), batch, row, head, element };
}

/** Such tensors by name. */
export const operands = <Name extends string>(tensors: Readonly<Record<Name, Elements>>) =>
  mapped(tensors, (x) => operand(x));

/** Contiguous ones by name. */
export const allContiguous = <Name extends string>(tensors: Readonly<Record<Name, Elements>>) =>
  mapped(tensors, contiguous);

const mapped = <Name extends string, To>(tensors: Readonly<Record<Name, Elements>>, to: (x: Elements) => To) =>
  Object.fromEntries(Object.entries<Elements>(tensors).map(([name, x]) => [name, to(x)])) as Record<Name, To>;

/** A number for each [batch, row, head], as rows of one element. */
export function numbersOfRows(x: Elements): Values<typeof Operand> {
  const [batch, row, head] = x.strides as [number, number, number];
  return { ...contiguous(x), batch, row, head, element: 1 };
}

export const NO_OPERAND = { address: 0, dtype: F32, batch: 0, row: 0, head: 0, element: 0 };

/** Heads that one task takes side by side in memory: this changes no bits, so it may depend on the threads. */
export function headsOfTask(heads: number, threads: number): number {
  const rounds = Math.ceil(heads / (threads * MOST_HEADS));
  return Math.ceil(heads / (threads * rounds));
}
