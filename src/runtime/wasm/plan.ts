/** Tensors as the kernels read them, and what plans of calls share. */
import { bytesPerElement, type DType } from '../../tensor/dtype';
import type { Tensor } from '../../tensor/tensor';
import type { HeapBuffer } from './heap';
import type { Job } from './pool';

/** The kernels' numbers of the dtypes (storage.as.ts). */
export const DTYPE_CODES: Partial<Record<DType, number>> = { f32: 0, f16: 1, bf16: 2 };

/** Rough speed of one thread, to tell small jobs from large ones. */
export const FLOPS_PER_MICROSECOND = 40_000;

/** Rough speed of one thread in elements that it passes over. */
export const ELEMENTS_PER_MICROSECOND = 500;

/** What a plan may depend on. */
export interface Machine {
  readonly memory: WebAssembly.Memory;
  /** At least 1. */
  readonly threads: number;
}

/** What runs a call: working memory by name, in bytes, and the jobs once it is there. */
export interface Plan {
  readonly bytes?: Readonly<Record<string, number>>;
  /** What programs of scores read: a copy stays in the heap from call to call. */
  readonly tables?: readonly (Float32Array | Int32Array)[];
  jobs(
    addresses: Readonly<Record<string, number>>,
    addressOf: (table: Float32Array | Int32Array) => number,
  ): readonly Job[];
}

/** A plan whose jobs get the addresses of working memory. */
export function withMemory<Name extends string>(
  bytes: Readonly<Record<Name, number>>,
  jobs: (addresses: Readonly<Record<Name, number>>) => readonly Job[],
): Plan {
  return { bytes, jobs };
}

/** One kernel that passes over so many elements. */
export function overElements(kernel: string, tasks: number, params: readonly number[], elements: number): Plan {
  const microseconds = elements / ELEMENTS_PER_MICROSECOND;
  return { jobs: () => [{ phases: [{ kernel, tasks }], params, microseconds }] };
}

/** Where the first element lies. */
export function address({ storage, offset, dtype }: Tensor): number {
  return (storage.buffer as HeapBuffer).address + offset * bytesPerElement(dtype);
}

/** A tensor [batch, row, head, element] as layout.as.ts reads it: address, dtype and strides. */
export function operand(x: Tensor): number[] {
  const [batch, row, head, element] = x.strides as [number, number, number, number];
  return [address(x), DTYPE_CODES[x.dtype] as number, batch, row, head, element];
}

/** Heads of a task, as the kernels have room for. */
const MOST_HEADS = 8;

/** Heads that one task takes side by side in memory: which go together changes no bits, so it may depend on the threads. */
export function headsOfTask(heads: number, threads: number): number {
  const rounds = Math.ceil(heads / (threads * MOST_HEADS));
  return Math.ceil(heads / (threads * rounds));
}
