/** GPU memory: buffers handed out from a pool, and what of them is live. */
import { BackendError } from '../../errors';
import type { Buffer, MemoryReport } from '../backend';

/** Buffers are multiples of this, so that vectors never pass their end. */
const ALIGNMENT = 256;
/** Of released buffers so many bytes, or as many as are live, wait to be used again. */
const KEPT_BYTES = 2 ** 28;

export class GpuBuffer implements Buffer {
  constructor(
    readonly handle: GPUBuffer,
    /** What was asked for. */
    readonly bytes: number,
    /** Whether it goes back to the pool; a caller's own buffer does not. */
    readonly isPooled: boolean,
  ) {}
}

export class Memory {
  readonly #device: GPUDevice;
  /** Released buffers by size. */
  readonly #free = new Map<number, GPUBuffer[]>();
  #freeBytes = 0;
  #reserved = 0;
  #live = 0;
  #peak = 0;
  /** Whether new buffers were really given. */
  #pending: Promise<void>[] = [];

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Counted as live until `release`. A device without room says so later, in `settle`. */
  allocate(bytes: number): GpuBuffer {
    const buffer = this.take(bytes);
    this.#live += bytes;
    this.#peak = Math.max(this.#peak, this.#live);
    return buffer;
  }

  /** Memory for the backend's own use: not counted as live. */
  take(bytes: number): GpuBuffer {
    const { maxBufferSize } = this.#device.limits;
    if (bytes > maxBufferSize) {
      throw new BackendError(
        `cannot allocate ${bytes} bytes: this GPU's buffers hold at most ${maxBufferSize}; split the tensor along batch or heads, or use backend 'wasm'`,
      );
    }
    const size = Math.min(sizeClass(bytes), Math.floor(maxBufferSize / 4) * 4);
    const found = this.#free.get(size)?.pop();
    if (found) {
      this.#freeBytes -= size;
      return new GpuBuffer(found, bytes, true);
    }
    if (this.#freeBytes + size > Math.max(KEPT_BYTES, this.#live)) this.#trim();
    return new GpuBuffer(this.#create(size, bytes), bytes, true);
  }

  release(buffer: GpuBuffer): void {
    this.#live -= buffer.isPooled ? buffer.bytes : 0;
    this.giveBack(buffer);
  }

  /** Ends a `take`. */
  giveBack({ handle, isPooled }: GpuBuffer): void {
    if (!isPooled) return;
    const list = this.#free.get(handle.size) ?? [];
    this.#free.set(handle.size, list);
    list.push(handle);
    this.#freeBytes += handle.size;
    if (this.#freeBytes > Math.max(KEPT_BYTES, this.#live)) this.#trim();
  }

  /** Resolves when every buffer handed out was really given; else a BackendError. */
  async settle(): Promise<void> {
    if (this.#pending.length === 0) return;
    const pending = this.#pending;
    this.#pending = [];
    await Promise.all(pending);
  }

  report(): MemoryReport {
    return { live: this.#live, peak: this.#peak, reserved: this.#reserved };
  }

  resetPeak(): void {
    this.#peak = this.#live;
  }

  /** Ends what waits to be used again; live buffers end with the device. */
  dispose(): void {
    this.#trim();
  }

  #create(size: number, asked: number): GPUBuffer {
    this.#device.pushErrorScope('out-of-memory');
    const handle = this.#device.createBuffer({
      size,
      usage: GPU_STORAGE | GPU_COPY_SRC | GPU_COPY_DST,
    });
    const live = this.#live;
    const checked = this.#device.popErrorScope().then((error) => {
      if (!error) return;
      this.#reserved -= size;
      throw new BackendError(
        `the GPU has no room for ${asked} bytes (${live} are in use): dispose tensors, make the problem smaller, or use backend 'wasm'`,
      );
    });
    // Awaited by the next call; until then it is not unhandled.
    checked.catch(() => undefined);
    this.#pending.push(checked);
    this.#reserved += size;
    return handle;
  }

  #trim(): void {
    for (const list of this.#free.values()) {
      for (const handle of list) {
        this.#reserved -= handle.size;
        handle.destroy();
      }
    }
    this.#free.clear();
    this.#freeBytes = 0;
  }
}

/** GPUBufferUsage, which Node does not have as a global. */
export const GPU_MAP_READ = 0x1;
export const GPU_COPY_SRC = 0x4;
export const GPU_COPY_DST = 0x8;
export const GPU_UNIFORM = 0x40;
export const GPU_STORAGE = 0x80;
export const GPU_STAGE_COMPUTE = 0x4;

/** A size that others ask for too: four steps to each power of two, so at most a quarter is spare. */
function sizeClass(bytes: number): number {
  const step = Math.max(ALIGNMENT, 2 ** (Math.floor(Math.log2(Math.max(1, bytes))) - 2));
  return Math.max(ALIGNMENT, Math.ceil(bytes / step) * step);
}
