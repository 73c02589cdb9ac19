/**
 * What a backend is: memory, and `run`. It checks nothing, since ops have checked shapes, element types and owners, knows no
 * methods and no names of ops, and counts no references. A call is the whole plan: tensors, which say where in which `Buffer`
 * their elements are, and numbers; outputs are allocated and contiguous.
 *
 * One call runs after the other (README.md). `run` yields its pauses and is over when whatever is called or read next comes
 * after it: on a GPU once its commands are submitted, and `finish` waits for these. A call that fails throws the signal's
 * reason, a BackendError, or the error of an `Expectation`, and leaves its outputs undefined.
 */
import type { DType } from '../tensor/dtype';
import type { Elements } from '../tensor/elements';
import type { HostTensor } from '../tensor/host';
import type { Buffer, MemoryReport } from './memory';
import type { Op } from './op';
import type { Pause } from './order';
import type { KernelFiles } from './wasm/files';
import type { GpuBufferLike } from './webgpu/adapter';

export const BACKENDS = ['reference', 'wasm', 'webgpu'] as const;
/** Float64 in plain loops, WebAssembly, or a GPU by WebGPU. */
export type BackendName = (typeof BACKENDS)[number];

/** Cancels a call and reports its progress. */
export interface Control {
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the share of the work done, from 0 to 1. What it throws ends the call and becomes its fault. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

export interface Backend {
  readonly name: BackendName;

  /** On backends whose kernels serve all shapes: loads those of some files. @throws {BackendError} if they cannot be loaded */
  load?(files: readonly KernelFiles[]): Promise<void>;

  /** Undefined memory for elements of one type. @throws {BackendError} with the bytes asked for, in use and allowed */
  allocate(bytes: number, dtype: DType): Buffer;
  release(buffer: Buffer): void;
  write(buffer: Buffer, bytes: Uint8Array, byteOffset?: number): void;
  read(buffer: Buffer, byteOffset: number, length: number): Promise<Uint8Array>;
  /** The elements of a computed tensor, in row-major order. */
  known(x: Elements): HostTensor | Promise<HostTensor>;
  /** On backends in host memory: the place of a buffer. */
  view?(buffer: Buffer): { readonly buffer: ArrayBufferLike; readonly byteOffset: number };

  // On GPUs:
  /** The caller's buffer as memory of this backend, from `byteOffset` on. */
  adopt?(handle: GpuBufferLike, byteOffset: number, bytes: number): Buffer;
  /** The buffer that holds memory of this backend. */
  gpuBuffer?(buffer: Buffer): GpuBufferLike;
  /** Whether the GPU is emulated by the processor. */
  readonly isSoftware?: boolean;
  /** Bytes of a buffer that can be bound at once. */
  readonly mostBound?: number;
  /** Resolves when all kernels called so far are done. */
  finish?(): Promise<void>;

  /** Bytes that it can hold, if it knows. */
  readonly mostBytes?: number;
  memory(): MemoryReport;
  resetPeak(): void;
  /** What was chosen and why, one fact per line. */
  explain(): readonly string[];
  dispose(): void;
  /** Returns a promise if the device answers later whether expectations are met: it rejects if they are not. */
  run<Call>(op: Op<Call>, call: Call, control: Control): Generator<Pause, Promise<void> | undefined, void>;
}
