/** Tensors as the kernels read them, and what plans of calls share. */
import { bytesPerElement, type DType } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import type { HeapBuffer } from './heap';
import { FLOATS, MOST_HEADS, type Operand } from './params';
import type { Phase } from './schedule';
import type { Values } from './struct';

/** Rough speed of one thread, to tell small jobs from large ones. */
export const FLOPS_PER_MICROSECOND = 40_000;

/** Rough speed of one thread in elements that it passes over. */
export const ELEMENTS_PER_MICROSECOND = 500;

/** Rough speed at which a thread reads memory. */
export const BYTES_PER_MICROSECOND = 15_000;

/** The heap's memory, whose buffer is another one once it has grown. */
export interface HeapMemory {
  readonly buffer: ArrayBufferLike;
}

/** What a plan may depend on. */
export interface Machine {
  readonly memory: HeapMemory;
  /** At least 1. */
  readonly threads: number;
}

export interface Job {
  readonly phases: readonly Phase[];
  /** In the order of the kernels' Params. */
  readonly params: readonly number[];
  /** About how long it takes on one thread. */
  readonly microseconds: number;
}

/** Where the copy of a table lies. */
type AddressOf = (table: Float32Array | Int32Array) => number;

/** What runs a call: working memory by name, in bytes, and the jobs once it is there. */
export interface Plan {
  readonly bytes?: Readonly<Record<string, number>>;
  /** What programs of scores read: a copy stays in the heap from call to call. */
  readonly tables?: readonly (Float32Array | Int32Array)[];
  jobs(addresses: Readonly<Record<string, number>>, addressOf: AddressOf): readonly Job[];
}

/** A plan whose jobs get the addresses of working memory. */
export function withMemory<Name extends string>(
  bytes: Readonly<Record<Name, number>>,
  jobs: (addresses: Readonly<Record<Name, number>>, addressOf: AddressOf) => readonly Job[],
): Plan {
  return { bytes, jobs };
}

/** One kernel that passes over so many elements. */
export function overElements(kernel: string, tasks: number, params: readonly number[], elements: number): Plan {
  const microseconds = elements / ELEMENTS_PER_MICROSECOND;
  return { jobs: () => [{ phases: [{ kernel, tasks }], params, microseconds }] };
}

/** Where the first element lies; 0 for no tensor. */
export function address(x: Elements | undefined): number {
  return x ? (x.storage.buffer as HeapBuffer).address + x.offset * bytesPerElement(x.dtype) : 0;
}

/** A contiguous tensor of floats. */
export function contiguous(x: Elements) {
  return { address: address(x), dtype: codeOf(x.dtype) };
}

/** The kernels' number for a dtype of floats. */
export const codeOf = (dtype: DType) => (FLOATS as readonly DType[]).indexOf(dtype);

/** The kernels' number for f32. */
export const F32 = codeOf('f32');

/** A tensor [batch, row, head, element] of floats, by these strides. */
export function operand(x: Elements, strides = x.strides): Values<typeof Operand> {
  const [batch, row, head, element] = strides as [number, number, number, number];
  return { ...contiguous(x), batch, row, head, element };
}

export const NO_OPERAND = { address: 0, dtype: F32, batch: 0, row: 0, head: 0, element: 0 };

/** Heads that one task takes side by side in memory: which go together changes no bits, so it may depend on the threads. */
export function headsOfTask(heads: number, threads: number): number {
  const rounds = Math.ceil(heads / (threads * MOST_HEADS));
  return Math.ceil(heads / (threads * rounds));
}
