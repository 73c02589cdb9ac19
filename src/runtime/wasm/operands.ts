/** Tensors as the kernels read them, and what plans of calls share. */
import { bytesPerElement, type DType } from '../../tensor/dtype';
import type { Tensor } from '../../tensor/tensor';
import type { HeapBuffer } from './heap';
import type { Job } from './pool';

/** The kernels' numbers of the dtypes (assembly/storage.ts). */
export const DTYPE_CODES: Partial<Record<DType, number>> = { f32: 0, f16: 1, bf16: 2 };

/** Rough speed of one thread, to tell small jobs from large ones. */
export const FLOPS_PER_MICROSECOND = 40_000;

/** What runs a call: memory by name, the jobs once it is there, and what to check when they are done. */
export interface Plan {
  readonly bytes: Readonly<Record<string, number>>;
  jobs(addresses: Readonly<Record<string, number>>): Job[];
  check?(addresses: Readonly<Record<string, number>>): void;
}

/** Where the first element lies. */
export function address({ storage, offset, dtype }: Tensor): number {
  return (storage.buffer as HeapBuffer).address + offset * bytesPerElement(dtype);
}

/** A tensor [batch, row, head, element] as assembly/layout.ts reads it: address, dtype and strides. */
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
