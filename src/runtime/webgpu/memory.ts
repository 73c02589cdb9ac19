/** GPU memory: a pool of buffers, callers' buffers, and how much is in use. */
import { BackendError, ParameterError, ShapeError } from '../../errors';
import { Allocator } from '../memory';
import { GPU_COPY_DST, GPU_COPY_SRC, GPU_STORAGE, GpuBuffer } from './buffer';
import type { Device } from './device';

/** Buffers are multiples of this, so that no vector reads beyond the end. */
const ALIGNMENT = 256;
/** Released buffers of so many bytes, or as many as are live, are kept for reuse. */
const KEPT_BYTES = 2 ** 28;
/** Kernels count elements of two bytes and more in u32. */
const ADDRESSABLE_BYTES = 2 ** 33;

export class Memory extends Allocator<GpuBuffer> {
  readonly #device: Device;
  /** Released buffers, by size. */
  readonly #free = new Map<number, GpuBuffer[]>();
  /** All buffers of the pool, in use or not. */
  readonly #owned = new Set<GpuBuffer>();
  #freeBytes = 0;
  protected reserved = 0;
  #isDisposed = false;

  constructor(device: Device) {
    super();
    this.#device = device;
  }

  override release(buffer: GpuBuffer): void {
    if (buffer.isPooled) super.release(buffer);
  }

  /** Lack of memory is reported later, by `GpuBuffer.confirm`. */
  take(bytes: number): GpuBuffer {
    const { maxBufferSize } = this.#device.gpu.limits;
    const most = Math.floor(Math.min(maxBufferSize, ADDRESSABLE_BYTES) / ALIGNMENT) * ALIGNMENT;
    if (bytes > most) {
      throw new BackendError(
        `cannot allocate ${bytes} bytes: a buffer of this GPU holds at most ${most}; split the tensor along batch or heads, or use backend 'wasm'`,
      );
    }
    const size = Math.min(sizeClass(bytes), most);
    const found = this.#free.get(size)?.pop();
    if (found) {
      this.#freeBytes -= size;
      found.bytes = bytes;
      return found;
    }
    if (this.#freeBytes + size > Math.max(KEPT_BYTES, this.live)) this.#trim();
    return this.#create(size, bytes);
  }

  giveBack(buffer: GpuBuffer): void {
    // Refused buffers, and all after `dispose`, are not the pool's any more.
    if (!this.#owned.has(buffer)) return;
    const { size } = buffer.handle;
    const list = this.#free.get(size) ?? [];
    this.#free.set(size, list);
    list.push(buffer);
    this.#freeBytes += size;
    if (this.#freeBytes > Math.max(KEPT_BYTES, this.live)) this.#trim();
  }

  /**
   * A caller's buffer, used from `byteOffset` on. Whether it belongs to this device and still exists is known later, as for a
   * buffer of the pool.
   */
  adopt(handle: GPUBuffer, byteOffset: number, bytes: number): GpuBuffer {
    checkAdopted(handle, byteOffset, bytes);
    const { error } = this.#device.capture('validation', () => {
      // Has no effect, and is refused for a buffer that is destroyed or another device's.
      const encoder = this.#device.gpu.createCommandEncoder();
      try {
        encoder.clearBuffer(handle, 0, 0);
      } catch (cause) {
        throw new ParameterError(`buffer must be a GPUBuffer: ${(cause as Error).message}`);
      }
      this.#device.gpu.queue.submit([encoder.finish()]);
    });
    const failure = error.then(
      (refusal) =>
        refusal &&
        new ParameterError(
          `buffer must be of the runtime's own device, which is to be handed in as webgpu.device, and not destroyed: ${refusal.message.trim()}`,
        ),
    );
    return new GpuBuffer(handle, bytes, false, failure);
  }

  dispose(): void {
    this.#isDisposed = true;
    for (const buffer of this.#owned) this.#destroy(buffer);
    this.#free.clear();
    this.#freeBytes = 0;
  }

  #create(size: number, asked: number): GpuBuffer {
    const usage = GPU_STORAGE | GPU_COPY_SRC | GPU_COPY_DST;
    const { result, error } = this.#device.capture('out-of-memory', () =>
      this.#device.gpu.createBuffer({ size, usage }),
    );
    const live = this.live;
    const failure = error.then((refusal) => {
      if (!refusal || this.#isDisposed) return undefined;
      this.#destroy(buffer);
      this.#trim();
      return new BackendError(
        `the GPU has no room for ${asked} bytes (${live} are in use): dispose tensors, make the problem smaller, or use backend 'wasm'`,
      );
    });
    const buffer = new GpuBuffer(result, asked, true, failure);
    this.#owned.add(buffer);
    this.reserved += size;
    return buffer;
  }

  #trim(): void {
    for (const list of this.#free.values()) for (const buffer of list) this.#destroy(buffer);
    this.#free.clear();
    this.#freeBytes = 0;
  }

  #destroy(buffer: GpuBuffer): void {
    if (!this.#owned.delete(buffer)) return;
    this.reserved -= buffer.handle.size;
    buffer.handle.destroy();
  }
}

function checkAdopted(handle: GPUBuffer, byteOffset: number, bytes: number): void {
  if (handle === null || typeof handle !== 'object' || typeof handle.mapState !== 'string')
    throw new ParameterError(`buffer must be a GPUBuffer, got ${handle === null ? 'null' : typeof handle}`);
  const missing = Object.entries({ STORAGE: GPU_STORAGE, COPY_SRC: GPU_COPY_SRC, COPY_DST: GPU_COPY_DST })
    .filter(([, flag]) => (handle.usage & flag) === 0)
    .map(([name]) => name);
  if (missing.length > 0)
    throw new ParameterError(
      `buffer must have the usages STORAGE, COPY_SRC and COPY_DST: it lacks ${missing.join(', ')}`,
    );
  if (handle.mapState !== 'unmapped') throw new ParameterError(`buffer must be unmapped, it is ${handle.mapState}`);
  if (handle.size % 4 !== 0) throw new ParameterError(`buffer must have a multiple of 4 bytes, got ${handle.size}`);
  if (!(Number.isInteger(byteOffset) && byteOffset >= 0 && byteOffset % 4 === 0))
    throw new ParameterError(`byteOffset must be a multiple of 4 and not negative, got ${byteOffset}`);
  if (byteOffset + bytes > handle.size) {
    throw new ShapeError(
      `buffer must hold ${bytes} bytes for this shape from byteOffset ${byteOffset} on, it has ${handle.size}`,
    );
  }
}

/** Rounds up to one of four sizes per power of two, so that buffers are reused and at most a quarter is spare. */
function sizeClass(bytes: number): number {
  const step = Math.max(ALIGNMENT, 2 ** (Math.floor(Math.log2(Math.max(1, bytes))) - 2));
  return Math.max(ALIGNMENT, Math.ceil(bytes / step) * step);
}
