/** One GPU device: what it offers, its pipelines, and how calls end when it fails or is lost. */
import { BackendError, DisposedError, UnsupportedError } from '../../errors';
import {
  adapterOf,
  describeAdapter,
  type GpuLimits,
  type GpuOptions,
  type GpuSizes,
  identifyAdapter,
  isSoftware,
  openDevice,
} from './adapter';
import { GPU_STAGE_COMPUTE } from './buffer';
import type { Kernel } from './kernel';
import type { DeviceTraits } from './plan';
import { type Form, partBytes, shaderOf } from './shader';

/** Sizes of kernels, and where they are from, in words. */
export interface ChosenSizes {
  /** In the place of the ops' tables. */
  readonly sizes: GpuSizes;
  readonly origin: string;
}

export const TABLE: ChosenSizes = { sizes: {}, origin: "the table's" };

/** Chooses for a device, which is the runtime's own or not; throws for sizes that it cannot have. */
export type ChooseSizes = (device: DeviceTraits, options: GpuOptions, isOwn: boolean) => Promise<ChosenSizes>;

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

export class Device implements DeviceTraits {
  readonly gpu: GPUDevice;
  readonly subgroups: boolean;
  readonly isSoftware: boolean;
  readonly #isOwn: boolean;
  readonly #asked: GpuOptions;
  readonly #pipelines = new WeakMap<Kernel, Map<string, Pipeline | Promise<Pipeline>>>();
  #chosen: ChosenSizes;
  /** Rejects the work that is waited for. */
  readonly #waiting = new Set<(reason: Error) => void>();
  /** Resolves when it is known whether the commands on a caller's device succeeded. */
  #verdict: Promise<unknown> = Promise.resolve();
  #failure: Error | undefined;

  static async open(options: GpuOptions, choose?: ChooseSizes): Promise<Device> {
    const { device, isOwn } = await openDevice(options);
    const missing = missingSubgroups(device, options.subgroups);
    if (missing) {
      if (isOwn) device.destroy();
      throw new UnsupportedError(
        `webgpu.subgroups = ${options.subgroups} cannot be had: ${missing}; leave the option out, or request the feature for a device of your own`,
      );
    }
    const opened = new Device(device, isOwn, options);
    try {
      if (choose) opened.#chosen = await choose(opened, options, isOwn);
    } catch (error) {
      opened.dispose();
      throw error;
    }
    // Notices a device that is lost already.
    await Promise.race([device.lost, Promise.resolve()]);
    opened.check();
    return opened;
  }

  private constructor(gpu: GPUDevice, isOwn: boolean, asked: GpuOptions) {
    this.gpu = gpu;
    this.#isOwn = isOwn;
    this.#asked = asked;
    this.#chosen = asked.sizes ? { sizes: asked.sizes, origin: 'given' } : TABLE;
    this.subgroups = asked.subgroups === undefined ? gpu.features.has('subgroups') : asked.subgroups !== false;
    this.isSoftware = isSoftware(adapterOf(gpu));
    gpu.lost.then(({ reason, message }) => this.#fail(new BackendError(lossOf(reason, message))));
    if (isOwn) gpu.addEventListener('uncapturederror', this.#onError);
  }

  readonly #onError = (event: Event) => this.#refuse((event as GPUUncapturedErrorEvent).error);

  #refuse({ message }: GPUError): void {
    this.#fail(
      new BackendError(
        `the GPU refused a command, and what was computed since cannot be trusted: ${message.trim()}; make a new runtime with createRuntime()`,
      ),
    );
  }

  /** The first failure ends everything that is pending or comes later. */
  #fail(failure: Error): void {
    this.#failure ??= failure;
    for (const reject of this.#waiting) reject(this.#failure);
    this.#waiting.clear();
  }

  /** Throws if the device failed. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  /** The same promise, rejected early if the device fails. */
  async guard<T>(work: Promise<T>): Promise<T> {
    let stop: ((reason: Error) => void) | undefined;
    try {
      const result = await new Promise<T>((resolve, reject) => {
        work.then(resolve, reject);
        stop = reject;
        this.#waiting.add(reject);
        this.check();
      });
      await this.#verdict;
      this.check();
      return result;
    } catch (error) {
      // The loss of a device says more than what its work rejects with, and may be reported later.
      if (!this.#failure) await Promise.race([this.gpu.lost, sleep(LOSS_MS)]);
      throw this.#failure ?? error;
    } finally {
      if (stop) this.#waiting.delete(stop);
    }
  }

  /** Runs `work`; the first error of its commands comes as a promise, and nowhere else. */
  capture<T>(filter: GPUErrorFilter, work: () => T): { result: T; error: Promise<GPUError | undefined> } {
    this.gpu.pushErrorScope(filter);
    try {
      const result = work();
      return { result, error: this.#pop() };
    } catch (error) {
      this.#pop();
      throw error;
    }
  }

  /** A lost device reports no errors. */
  #pop(): Promise<GPUError | undefined> {
    return this.gpu.popErrorScope().then(
      (error) => error ?? undefined,
      () => undefined,
    );
  }

  /** Runs `work`: refused commands fail the device, and a caller's own error handler does not see them. */
  command<T>(work: () => T): T {
    if (this.#isOwn) return work();
    const { result: inner, error: refused } = this.capture('validation', () => this.capture('out-of-memory', work));
    const { result, error: full } = inner;
    this.#verdict = Promise.all([refused, full]).then((errors) => {
      for (const error of errors) if (error) this.#refuse(error);
    });
    return result;
  }

  /** The pipeline of a kernel for operands of this form; a promise while it is compiled. */
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

  get identity(): string {
    return identifyAdapter(adapterOf(this.gpu));
  }

  get vendor(): string {
    return adapterOf(this.gpu).vendor ?? '';
  }

  get subgroupSize(): number | undefined {
    const [least, most] = subgroupSizes(this.gpu, this.#asked.subgroups);
    return this.subgroups && least === most ? least : undefined;
  }

  get limits(): GpuLimits {
    return this.gpu.limits;
  }

  get sizes(): GpuSizes {
    return this.#chosen.sizes;
  }

  /** One fact per line. */
  explain(): string[] {
    const { features, limits } = this.gpu;
    const adapter = adapterOf(this.gpu);
    const [least, most] = subgroupSizes(this.gpu, this.#asked.subgroups);
    return [
      `adapter: ${describeAdapter(adapter)}${this.isSoftware ? ' (software: no GPU, but its results are the same)' : ''}${this.#isOwn ? '' : ", on the caller's device"}`,
      `subgroups: ${this.subgroups ? `${least === most ? least : `${least} to ${most}`} invocations` : this.#asked.subgroups === false ? 'not used, as asked' : 'this device has none'}`,
      'f16: stored as such, computed in f32; needs no shader-f16',
      `sizes: ${this.#chosen.origin}`,
      `timestamps: ${features.has('timestamp-query') ? 'yes' : 'no'}`,
      `limits: buffers of ${mebibytes(limits.maxBufferSize)}, bindings of ${mebibytes(limits.maxStorageBufferBindingSize)} (larger tensors are bound in parts), workgroup memory of ${limits.maxComputeWorkgroupStorageSize / 1024} KiB`,
    ];
  }

  /** Pending work rejects with a DisposedError. */
  dispose(): void {
    this.#failure = undefined;
    this.#fail(new DisposedError('the runtime was disposed'));
    this.gpu.removeEventListener('uncapturederror', this.#onError);
    if (this.#isOwn) this.gpu.destroy();
  }

  async #compile(kernel: Kernel, form: Form): Promise<Pipeline> {
    const { gpu } = this;
    const { subgroups } = this.#asked;
    const code = shaderOf(kernel, form, partBytes(gpu), typeof subgroups === 'number' ? subgroups : undefined);
    const { result, error: refused } = this.capture('validation', () => {
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
      const pipeline = gpu.createComputePipelineAsync({
        label: kernel.name,
        layout: gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: {
          module: gpu.createShaderModule({ label: kernel.name, code }),
        },
      });
      return { layout, pipeline };
    });
    try {
      return { pipeline: await this.guard(result.pipeline), layout: result.layout };
    } catch (error) {
      this.check();
      const reason = ((await refused) ?? (error as Error)).message.trim();
      throw new BackendError(
        `the GPU's compiler refused the kernel ${kernel.name}: ${reason}; please report this with the adapter's name, ${describeAdapter(adapterOf(gpu))}`,
      );
    }
  }
}

/** The smallest and the largest size; both are the one asked for, if any. */
function subgroupSizes(gpu: GPUDevice, asked: GpuOptions['subgroups']): (number | undefined)[] {
  const { subgroupMinSize, subgroupMaxSize } = adapterOf(gpu);
  return typeof asked === 'number' ? [asked, asked] : [subgroupMinSize, subgroupMaxSize];
}

/** Why the subgroups asked for cannot be had, if they cannot. */
function missingSubgroups(gpu: GPUDevice, asked: GpuOptions['subgroups']): string | undefined {
  if (!asked) return undefined;
  if (!gpu.features.has('subgroups')) return 'this adapter or device lacks the feature subgroups';
  if (asked === true) return undefined;
  if (!gpu.features.has('subgroup-size-control' as GPUFeatureName))
    return 'this adapter or device lacks the feature subgroup-size-control';
  const { subgroupMinSize: least = 0, subgroupMaxSize: most = 0 } = adapterOf(gpu);
  return asked < least || asked > most ? `this adapter has those of ${least} to ${most} invocations` : undefined;
}

/** How long after its consequences the loss of a device may be reported. */
const LOSS_MS = 100;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const lossOf = (reason: string, message: string) =>
  `the GPU device was lost (${[reason, message].filter(Boolean).join(': ')}): its tensors are gone; make a new runtime with createRuntime()`;

const mebibytes = (bytes: number) => `${Math.floor(bytes / 2 ** 20)} MiB`;
