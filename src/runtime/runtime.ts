import { checkChoice, checkFunction, checkOptions, checkWhole, show } from '../check';
import { DisposedError, DTypeError, ParameterError, UnsupportedError } from '../errors';
import { bytesPerElement, DTYPES, type DType } from '../tensor/dtype';
import { checkHost, convert, type HostTensor, hostTensor, type Numbers } from '../tensor/host';
import { normal, uniform } from '../tensor/random';
import { checkShape, rowMajorStrides, type Shape, sizeOf } from '../tensor/shape';
import { disposeKey, Storage, Tensor } from '../tensor/tensor';
import { BACKENDS, type Backend, type BackendName, type MemoryReport } from './backend';
import { Scopes } from './scopes';
import type { GpuBufferLike, GpuOptions } from './webgpu/adapter';

export interface RuntimeOptions {
  /** Where to compute; `'auto'` (default) is wasm. A named one that is missing is an error, never another one. */
  readonly backend?: BackendName | 'auto';
  /** Threads of the wasm backend, at least 1. Default: one per core, or 1 where threads cannot be had. */
  readonly threads?: number;
  /** Which build of the wasm kernels; default: relaxed SIMD (fused multiply-add) where the platform has it. */
  readonly simd?: 'relaxed' | 'baseline';
  /** Of the webgpu backend: which device, and what its kernels may use. */
  readonly webgpu?: GpuOptions;
}

const OPTION_NAMES = ['backend', 'threads', 'simd', 'webgpu'];

/**
 * Where tensors live and operations run: a backend, its memory and its threads. Dispose it to give all of that back.
 * Make one with `createRuntime()`.
 */
export class Runtime {
  readonly #scopes = new Scopes();
  #disposed = false;

  constructor(readonly backend: Backend) {}

  /**
   * A tensor with a copy of `data`. The dtype is that of the typed array, f32 for plain numbers; a `Uint16Array`
   * needs `'f16'` or `'bf16'`, and float64 numbers a dtype to be rounded to.
   */
  tensor<D extends DType = 'f32'>(data: Numbers, shape: Shape, dtype?: D): Tensor<D> {
    return this.fromHost(hostTensor(data, shape, dtype) as HostTensor<D>);
  }

  /** A tensor with a copy of a host tensor, such as the file readers give. */
  fromHost<D extends DType>(host: HostTensor<D>): Tensor<D> {
    checkHost('host', host);
    return this.#filled(host.shape, host.dtype, () => host);
  }

  /** A tensor whose elements are not set. */
  empty<D extends DType = 'f32'>(shape: Shape, dtype: D = 'f32' as D): Tensor<D> {
    this.assertUsable('runtime');
    checkElements(shape, dtype);
    const buffer = this.backend.allocate(sizeOf(shape) * bytesPerElement(dtype), dtype);
    return new Tensor(new Storage(this, buffer), dtype, [...shape]);
  }

  /**
   * A tensor in a GPU buffer of the caller's, without a copy, from `byteOffset` (a multiple of 4) on. The buffer is of the
   * device handed in as `webgpu.device`, with the usages STORAGE, COPY_SRC and COPY_DST. It stays the caller's, who keeps
   * it, unmapped, as long as the tensor is used; two tensors in one buffer must not overlap where an op writes.
   * @throws {UnsupportedError} on other backends than webgpu
   * @throws {ParameterError | ShapeError} for a buffer that cannot hold it; for one of another device the first use rejects
   */
  fromGpuBuffer<D extends DType = 'f32'>(
    buffer: GpuBufferLike,
    shape: Shape,
    dtype: D = 'f32' as D,
    byteOffset = 0,
  ): Tensor<D> {
    this.assertUsable('fromGpuBuffer()');
    checkElements(shape, dtype);
    const { backend } = this;
    if (!backend.adopt)
      throw new UnsupportedError(`fromGpuBuffer() needs backend 'webgpu', this runtime's is '${backend.name}'`);
    const elementBytes = bytesPerElement(dtype);
    const adopted = backend.adopt(buffer, byteOffset, sizeOf(shape) * elementBytes);
    return new Tensor(new Storage(this, adopted), dtype, [...shape], rowMajorStrides(shape), byteOffset / elementBytes);
  }

  /** Seeded random numbers, standard normal or uniform in [0, 1); the same on every platform and backend. */
  random<D extends 'f32' | 'f16' | 'bf16' = 'f32'>(
    shape: Shape,
    options: {
      readonly seed?: number | undefined;
      readonly distribution?: 'normal' | 'uniform' | undefined;
      readonly dtype?: D | undefined;
    } = {},
  ): Tensor<D> {
    checkOptions('random()', options, ['seed', 'distribution', 'dtype']);
    const { seed = 0, distribution = 'normal', dtype = 'f32' as D } = options;
    checkChoice('distribution', distribution, ['normal', 'uniform']);
    checkChoice('dtype', dtype, ['f32', 'f16', 'bf16']);
    return this.#filled(shape, dtype, (size) => {
      const data = distribution === 'normal' ? normal(size, seed) : uniform(size, seed);
      return convert({ dtype: 'f32', shape, data }, dtype);
    });
  }

  /** A tensor of what `work` gives for its number of elements; that there is room is known before it works. */
  #filled<D extends DType>(shape: Shape, dtype: D, work: (size: number) => HostTensor<D>): Tensor<D> {
    const tensor = this.empty(shape, dtype);
    try {
      const { data } = work(tensor.size);
      this.backend.write(tensor.storage.buffer, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    return tensor;
  }

  /**
   * Runs `work` and disposes every tensor made meanwhile except those it returns (alone, in an array or as
   * properties of an object), which pass to the enclosing scope. Scopes of one runtime nest: those that run at the same
   * time would dispose each other's tensors, so they are refused, and other code that does disposes by hand.
   *
   * @throws {SaccadeError} a scope that begins, or ends, beside another or beside a call that is not awaited
   */
  async scope<T>(work: () => T | Promise<T>): Promise<T> {
    this.assertUsable('scope()');
    checkFunction('work of scope()', work);
    return await this.#scopes.run(work);
  }

  /** Puts a new tensor under the innermost open scope. */
  own(tensor: Tensor): void {
    this.#scopes.own(tensor);
  }

  disown(tensor: Tensor): void {
    this.#scopes.disown(tensor);
  }

  /** For ops: takes note that a call begins; what is returned is called when it has settled. */
  begin(): () => void {
    return this.#scopes.begin();
  }

  /**
   * Resolves when everything called so far is computed. A GPU's ops resolve once their commands are under way, so time
   * them up to here; reading a tensor needs no such care.
   */
  async finish(): Promise<void> {
    this.assertUsable('finish()');
    await this.backend.finish?.();
  }

  /** Live and peak bytes. */
  memory(): MemoryReport {
    return this.backend.memory();
  }

  /** What was chosen and why: backend, threads, SIMD flavour, and what is missing. One fact a line. */
  explain(): string {
    return this.backend.explain().join('\n');
  }

  assertUsable(use: string): void {
    if (this.#disposed) throw new DisposedError(`${use}: the runtime was disposed`);
  }

  /** Gives back memory and threads; pending calls reject, and tensors of this runtime cannot be used afterwards. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.backend.dispose();
  }

  [disposeKey](): void {
    this.dispose();
  }
}

function checkElements(shape: Shape, dtype: DType): void {
  checkShape('shape', shape);
  if (!DTYPES.includes(dtype)) throw new DTypeError(`dtype must be one of ${DTYPES.join(', ')}, got ${show(dtype)}`);
}

/** A new runtime. */
export async function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  checkOptions('createRuntime', options, OPTION_NAMES);
  const { backend = 'auto', threads, simd, webgpu } = options;
  if (backend !== 'auto' && !BACKENDS.includes(backend)) {
    throw new ParameterError(`backend must be one of auto, ${BACKENDS.join(', ')}, got ${show(backend)}`);
  }
  if (threads !== undefined) checkWhole('threads', threads, 1, 256);
  if (simd !== undefined && simd !== 'relaxed' && simd !== 'baseline') {
    throw new ParameterError(`simd must be 'relaxed' or 'baseline', got ${show(simd)}`);
  }
  if (webgpu !== undefined && backend !== 'webgpu')
    throw new UnsupportedError(`the option webgpu needs backend 'webgpu', got ${show(backend)}`);
  if (backend === 'webgpu' || backend === 'reference') {
    if (threads !== undefined || simd !== undefined) {
      throw new UnsupportedError(
        `the ${backend} backend has no threads and no SIMD to choose: leave threads and simd out`,
      );
    }
    if (backend === 'reference') {
      const { ReferenceBackend } = await import('./reference/backend');
      return new Runtime(new ReferenceBackend());
    }
    const { WebGpuBackend } = await import('./webgpu/backend');
    return new Runtime(await WebGpuBackend.create(webgpu ?? {}));
  }
  const { WasmBackend } = await import('./wasm/backend');
  return new Runtime(await WasmBackend.create({ threads, simd }));
}

let shared: Promise<Runtime> | undefined;

/** The runtime that is made on first use, with default options, for callers who do not need their own. */
export function defaultRuntime(): Promise<Runtime> {
  shared ??= createRuntime().catch((error) => {
    shared = undefined;
    throw error;
  });
  return shared;
}
