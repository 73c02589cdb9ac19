import type { Buffer } from '../memory';

/** Flags of GPUBufferUsage and GPUShaderStage, which are no globals in Node. */
export const GPU_MAP_READ = 0x1;
export const GPU_COPY_SRC = 0x4;
export const GPU_COPY_DST = 0x8;
export const GPU_UNIFORM = 0x40;
export const GPU_STORAGE = 0x80;
export const GPU_STAGE_COMPUTE = 0x4;

/** Memory on a GPU; whether the device could allocate it is known later. */
export class GpuBuffer implements Buffer {
  #failure: Error | undefined;
  #verdict: Promise<void> | undefined;

  constructor(
    readonly handle: GPUBuffer,
    /** Bytes asked for. */
    public bytes: number,
    /** Whether it goes back to the pool, unlike a caller's buffer. */
    readonly isPooled: boolean,
    failure: Promise<Error | undefined>,
  ) {
    this.#verdict = failure.then((error) => {
      this.#failure = error;
      this.#verdict = undefined;
    });
  }

  /** Whether it is known to be usable. */
  get isGood(): boolean {
    return !this.#verdict && !this.#failure;
  }

  /** Whether the device refused it. */
  get isRefused(): boolean {
    return this.#failure !== undefined;
  }

  /** Resolves when it is known to be usable; rejects if it is not. */
  async confirm(): Promise<void> {
    await this.#verdict;
    if (this.#failure) throw this.#failure;
  }
}
