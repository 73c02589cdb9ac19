/**
 * What a backend is: memory, and `run`.
 *
 * A backend owns memory and runs ops over it, nothing else. It does not know methods or names of ops, does not validate
 * (an op has checked shapes, dtypes and ownership before), does not count references and does not decide what to compute:
 * the call it receives is the whole plan. Memory is handed out as opaque `Buffer`s; the tensors in a call say where in
 * them, and with which strides, the elements lie. Outputs are allocated before and are contiguous.
 *
 * One call runs after the other (order.ts): `run` gives its pauses, in which the calling thread does other things, and is
 * over when what is called or read next comes after it, on a GPU once its commands are under way; `finish` waits for these.
 * A call that cannot finish throws the signal's reason, a BackendError, or what an `Expectation` of the op says, and leaves
 * its outputs undefined.
 *
 * `reference` computes in float64 with plain loops and is the truth; every other backend is tested against it.
 */
import type { DType } from '../tensor/dtype';
import type { Elements } from '../tensor/elements';
import type { HostTensor } from '../tensor/host';
import type { Buffer, MemoryReport } from './memory';
import type { Op } from './op';
import type { Pause } from './order';
import type { GpuBufferLike } from './webgpu/adapter';

export const BACKENDS = ['reference', 'wasm', 'webgpu'] as const;
/** Float64 in plain loops, WebAssembly, or a GPU by WebGPU. */
export type BackendName = (typeof BACKENDS)[number];

/** Cancel and progress of one call; both optional. */
export interface Control {
  readonly signal?: AbortSignal | undefined;
  /** Called now and then with the share of the work done, from 0 to 1. What it throws ends the call, and is its fault. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

export interface Backend {
  readonly name: BackendName;

  /** New memory for elements of one type, not set; a BackendError says how much was asked, is live and is allowed. */
  allocate(bytes: number, dtype: DType): Buffer;
  release(buffer: Buffer): void;
  write(buffer: Buffer, bytes: Uint8Array, byteOffset?: number): void;
  /** A copy of `length` bytes from `byteOffset`, in memory of its own. */
  read(buffer: Buffer, byteOffset: number, length: number): Promise<Uint8Array>;
  /** The elements of a tensor that has been computed, in row-major order. */
  known(x: Elements): HostTensor | Promise<HostTensor>;
  /** Where the buffer lies in JavaScript-addressable memory, on the backends that have it there. */
  view?(buffer: Buffer): { readonly buffer: ArrayBufferLike; readonly byteOffset: number };

  /** A caller's GPU buffer as memory of this backend from `byteOffset` on, on backends that compute on such. */
  adopt?(handle: GpuBufferLike, byteOffset: number, bytes: number): Buffer;
  /** The GPU buffer that memory lies in, on backends that compute on such. */
  gpuBuffer?(buffer: Buffer): GpuBufferLike;

  /** Whether it computes on a GPU that the processor imitates, on backends that compute on GPUs. */
  readonly isSoftware?: boolean;

  /** Bytes of a buffer that kernels bind at once, on backends where they bind buffers. */
  readonly mostBound?: number;

  /** Bytes that it can hold, on backends that know. */
  readonly mostBytes?: number;

  /** Resolves when all kernels called so far are done, on backends where they may outlast their calls. */
  finish?(): Promise<void>;
  memory(): MemoryReport;
  resetPeak(): void;
  /** What was chosen and why, one fact a line. */
  explain(): readonly string[];
  dispose(): void;
  /** Where a device answers later whether expectations are met, what is returned rejects if they are not. */
  run<Call>(op: Op<Call>, call: Call, control: Control): Generator<Pause, Promise<void> | undefined, void>;
}
