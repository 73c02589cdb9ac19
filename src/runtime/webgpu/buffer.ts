import type { Buffer } from '../memory';

/** GPUBufferUsage, which Node does not have as a global. */
export const GPU_MAP_READ = 0x1;
export const GPU_COPY_SRC = 0x4;
export const GPU_COPY_DST = 0x8;
export const GPU_UNIFORM = 0x40;
export const GPU_STORAGE = 0x80;
export const GPU_STAGE_COMPUTE = 0x4;

/** Memory on a GPU, of which the device says later whether it can be used. */
export class GpuBuffer implements Buffer {
  #failure: Error | undefined;
  #verdict: Promise<void> | undefined;

  constructor(
    readonly handle: GPUBuffer,
    /** What was asked for. */
    public bytes: number,
    /** Whether it goes back to the pool; a caller's own buffer does not. */
    readonly isPooled: boolean,
    failure: Promise<Error | undefined>,
  ) {
    this.#verdict = failure.then((error) => {
      this.#failure = error;
      this.#verdict = undefined;
    });
  }

  /** Whether the device has said that it can be used. */
  get isGood(): boolean {
    return !this.#verdict && !this.#failure;
  }

  /** Whether the device has refused it. */
  get isRefused(): boolean {
    return this.#failure !== undefined;
  }

  /** Resolves when the device has said so; throws what it says instead. */
  async confirm(): Promise<void> {
    await this.#verdict;
    if (this.#failure) throw this.#failure;
  }
}
