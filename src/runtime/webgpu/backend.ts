/** The GPU backend: WGSL kernels on one WebGPU device. */
import { UnsupportedError } from '../../errors';
import { bytesPerElement, type DType, typedArray } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import { type HostTensor, toRowMajor } from '../../tensor/host';
import { lastElement } from '../../tensor/shape';
import type { Backend, Control } from '../backend';
import type { Buffer, MemoryReport } from '../memory';
import type { Op } from '../op';
import { loaded, type Pause } from '../order';
import type { GpuBufferLike, GpuOptions } from './adapter';
import type { GpuBuffer } from './buffer';
import { type ChooseSizes, Device } from './device';
import { Memory } from './memory';
import type { Workspace } from './plan';
import { Queue } from './queue';
import { partBytes } from './shader';

export class WebGpuBackend implements Backend {
  readonly name = 'webgpu';
  readonly #device: Device;
  readonly #memory: Memory;
  readonly #queue: Queue;
  readonly #choices = new Set<string>();

  static async create(options: GpuOptions, choose?: ChooseSizes): Promise<WebGpuBackend> {
    return new WebGpuBackend(await Device.open(options, choose));
  }

  private constructor(device: Device) {
    this.#device = device;
    this.#memory = new Memory(device);
    this.#queue = new Queue(device, this.#memory);
  }

  allocate(bytes: number, dtype: DType): Buffer {
    if (dtype === 'f64') throw new UnsupportedError("GPUs have no f64: use f32, or a runtime with backend 'wasm'");
    this.#device.check();
    return this.#memory.allocate(bytes);
  }

  adopt(handle: GpuBufferLike, byteOffset: number, bytes: number): Buffer {
    this.#device.check();
    return this.#memory.adopt(handle as GPUBuffer, byteOffset, bytes);
  }

  gpuBuffer(buffer: Buffer): GpuBufferLike {
    return (buffer as GpuBuffer).handle;
  }

  release(buffer: Buffer): void {
    this.#memory.release(buffer as GpuBuffer);
  }

  write(buffer: Buffer, bytes: Uint8Array, byteOffset = 0): void {
    this.#queue.write(buffer as GpuBuffer, bytes, byteOffset);
  }

  read(buffer: Buffer, byteOffset: number, length: number): Promise<Uint8Array> {
    return this.#queue.read(buffer as GpuBuffer, byteOffset, length);
  }

  get isSoftware(): boolean {
    return this.#device.isSoftware;
  }

  get mostBound(): number {
    return partBytes(this.#device.gpu);
  }

  finish(): Promise<void> {
    return this.#queue.finish();
  }

  memory(): MemoryReport {
    return this.#memory.report();
  }

  resetPeak(): void {
    this.#memory.resetPeak();
  }

  explain(): readonly string[] {
    return ['backend: webgpu', ...this.#device.explain(), ...this.#choices];
  }

  dispose(): void {
    this.#device.dispose();
    this.#queue.dispose();
    this.#memory.dispose();
  }

  async known({ dtype, shape, strides, offset, storage }: Elements): Promise<HostTensor> {
    const last = lastElement(shape, strides, 0);
    const bytesOf = (elements: number) => elements * bytesPerElement(dtype);
    const bytes = await this.read(storage.buffer, bytesOf(offset), bytesOf(last + 1));
    const values = typedArray(dtype, last + 1, bytes.buffer, bytes.byteOffset);
    return { dtype, shape, data: toRowMajor(values, dtype, shape, strides) as never };
  }

  *run<Call>(op: Op<Call>, call: Call, control: Control): Generator<Pause, Promise<void> | undefined, void> {
    const plan = yield* loaded(op.webgpu);
    const noted = (workspace: Workspace) => {
      const made = plan(call, workspace);
      if ('dispatches' in made && made.choice) this.#choices.add(made.choice);
      return made;
    };
    return yield* this.#queue.run(noted, control, op.faults?.(call));
  }
}
