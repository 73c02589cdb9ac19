/** One GPU device: what it offers, its pipelines, and what becomes of calls when it fails or is lost. */
import { BackendError, DisposedError, UnsupportedError } from '../../errors';
import { describeAdapter, type GpuOptions, isSoftware, openDevice } from './adapter';
import { type Form, type Kernel, partBytes, shaderOf } from './kernel';
import { GPU_STAGE_COMPUTE } from './memory';

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

export class Device {
  readonly gpu: GPUDevice;
  /** Whether kernels use subgroups. */
  readonly subgroups: boolean;
  /** Whether it computes on the CPU. */
  readonly isSoftware: boolean;
  readonly #isOwn: boolean;
  readonly #asked: GpuOptions;
  // What implements the device must live as long as it.
  readonly implementation: unknown;
  readonly #pipelines = new WeakMap<Kernel, Map<string, Pipeline | Promise<Pipeline>>>();
  readonly #lost: Promise<never>;
  #failure: Error | undefined;

  static async open(options: GpuOptions): Promise<Device> {
    const { device, isOwn, keep } = await openDevice(options);
    const hasSubgroups = device.features.has('subgroups');
    if (options.subgroups && !hasSubgroups) {
      throw new UnsupportedError(
        'webgpu.subgroups cannot be had: this adapter or device lacks the feature; leave the option out, or request the feature for a device of your own',
      );
    }
    return new Device(device, isOwn, options, keep);
  }

  private constructor(gpu: GPUDevice, isOwn: boolean, asked: GpuOptions, keep: unknown) {
    this.gpu = gpu;
    this.#isOwn = isOwn;
    this.#asked = asked;
    this.implementation = keep;
    this.subgroups = asked.subgroups ?? gpu.features.has('subgroups');
    this.isSoftware = isSoftware(gpu.adapterInfo);
    this.#lost = gpu.lost.then(({ reason, message }) => {
      this.#failure ??= new BackendError(
        `the GPU device was lost (${[reason, message].filter(Boolean).join(': ')}): its tensors are gone; make a new runtime with createRuntime()`,
      );
      throw this.#failure;
    });
    this.#lost.catch(() => undefined);
    gpu.addEventListener('uncapturederror', this.#onError);
  }

  readonly #onError = (event: Event) => {
    const { error } = event as GPUUncapturedErrorEvent;
    this.#failure ??= new BackendError(`the GPU refused a command: ${error.message.trim()}`);
  };

  /** Throws if the device failed since it was last asked; one that is lost stays lost. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** What `work` resolves to, unless the device is lost first. */
  async guard<T>(work: Promise<T>): Promise<T> {
    try {
      const result = await Promise.race([work, this.#lost]);
      this.check();
      return result;
    } catch (error) {
      // What a lost device rejects with says less than that it is lost.
      await Promise.resolve();
      throw this.#failure ?? error;
    }
  }

  /** The pipeline of a kernel for operands of this form: at once if it is known. */
  pipeline(kernel: Kernel, form: Form): Pipeline | Promise<Pipeline> {
    const byForm = this.#pipelines.get(kernel) ?? new Map<string, Pipeline | Promise<Pipeline>>();
    this.#pipelines.set(kernel, byForm);
    const found = byForm.get(form.key) ?? this.#compile(kernel, form);
    byForm.set(form.key, found);
    if (found instanceof Promise) {
      found.then(
        (pipeline) => byForm.set(form.key, pipeline),
        () => byForm.delete(form.key),
      );
    }
    return found;
  }

  /** One fact a line. */
  explain(): string[] {
    const { adapterInfo, features, limits } = this.gpu;
    const { subgroupMinSize: least, subgroupMaxSize: most } = adapterInfo;
    return [
      `adapter: ${describeAdapter(adapterInfo)}${this.isSoftware ? ' (software: no GPU, but its results are the same)' : ''}${this.#isOwn ? '' : ", on the caller's device"}`,
      `subgroups: ${this.subgroups ? `${least === most ? least : `${least} to ${most}`} invocations` : this.#asked.subgroups === false ? 'not used, as asked' : 'this device has none'}`,
      'f16: stored as such, computed in f32; needs no shader-f16',
      `timestamps: ${features.has('timestamp-query') ? 'yes' : 'no'}`,
      `limits: buffers of ${mebibytes(limits.maxBufferSize)}, bindings of ${mebibytes(limits.maxStorageBufferBindingSize)} (larger tensors are bound in parts), workgroup memory of ${limits.maxComputeWorkgroupStorageSize / 1024} KiB`,
    ];
  }

  dispose(): void {
    this.#failure = new DisposedError('the runtime was disposed');
    this.gpu.removeEventListener('uncapturederror', this.#onError);
    if (this.#isOwn) this.gpu.destroy();
  }

  async #compile(kernel: Kernel, form: Form): Promise<Pipeline> {
    const { gpu } = this;
    const code = shaderOf(kernel, form, partBytes(gpu));
    const layout = gpu.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: GPU_STAGE_COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true } },
        ...form.bindings.map(({ isWritten }, at) => ({
          binding: at + 1,
          visibility: GPU_STAGE_COMPUTE,
          buffer: { type: isWritten ? 'storage' : 'read-only-storage' } as const,
        })),
      ],
    });
    try {
      const pipeline = await this.guard(
        gpu.createComputePipelineAsync({
          label: kernel.name,
          layout: gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
          compute: { module: gpu.createShaderModule({ label: kernel.name, code }) },
        }),
      );
      return { pipeline, layout };
    } catch (error) {
      if (error === this.#failure) throw error;
      throw new BackendError(
        `the GPU's compiler refused the kernel ${kernel.name}: ${(error as Error).message.trim()}; please report this with the adapter's name, ${describeAdapter(gpu.adapterInfo)}`,
      );
    }
  }
}

const mebibytes = (bytes: number) => `${Math.floor(bytes / 2 ** 20)} MiB`;
