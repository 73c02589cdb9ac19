import { DisposedError, DTypeError, ParameterError, SaccadeError, UnsupportedError } from '../errors';
import { bytesPerElement, DTYPES, type DType } from '../tensor/dtype';
import { checkHost, convert, type HostTensor, hostTensor, type Numbers } from '../tensor/host';
import { normal, uniform } from '../tensor/random';
import { checkShape, rowMajorStrides, type Shape, sizeOf } from '../tensor/shape';
import { disposeKey, Storage, Tensor } from '../tensor/tensor';
import { BACKENDS, type Backend, type BackendName, type MemoryReport } from './backend';
import { ReferenceBackend } from './reference/backend';
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
  #scopes: Set<Tensor>[] = [];
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
    const buffer = this.backend.allocate(sizeOf(shape) * bytesPerElement(dtype));
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
    {
      seed = 0,
      distribution = 'normal',
      dtype = 'f32' as D,
    }: { seed?: number; distribution?: 'normal' | 'uniform'; dtype?: D } = {},
  ): Tensor<D> {
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
   * properties of an object), which pass to the enclosing scope. Scopes of one runtime nest: code that runs at the
   * same time as a scope on the same runtime disposes by hand.
   */
  async scope<T>(work: () => T | Promise<T>): Promise<T> {
    this.assertUsable('scope()');
    const owned = new Set<Tensor>();
    this.#scopes.push(owned);
    let kept: Tensor[] = [];
    try {
      const result = await work();
      if (this.#scopes.at(-1) !== owned) {
        throw new SaccadeError('scope() ended while a scope opened later on the same runtime was still open');
      }
      kept = tensorsIn(result);
      return result;
    } finally {
      this.#scopes = this.#scopes.filter((scope) => scope !== owned);
      for (const tensor of kept) if (owned.delete(tensor)) this.own(tensor);
      for (const tensor of owned) tensor.dispose();
    }
  }

  /** Puts a new tensor under the innermost open scope. */
  own(tensor: Tensor): void {
    this.#scopes.at(-1)?.add(tensor);
  }

  disown(tensor: Tensor): void {
    for (const scope of this.#scopes) scope.delete(tensor);
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
  if (!DTYPES.includes(dtype)) throw new DTypeError(`dtype must be one of ${DTYPES.join(', ')}, got '${dtype}'`);
}

/** A new runtime. */
export async function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  for (const name of Object.keys(options)) {
    if (!OPTION_NAMES.includes(name))
      throw new ParameterError(`createRuntime has no option '${name}': expected ${OPTION_NAMES.join(', ')}`);
  }
  const { backend = 'auto', threads, simd, webgpu } = options;
  if (backend !== 'auto' && !BACKENDS.includes(backend)) {
    throw new ParameterError(`backend must be one of auto, ${BACKENDS.join(', ')}, got '${backend}'`);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 256)) {
    throw new ParameterError(`threads must be an integer from 1 to 256, got ${threads}`);
  }
  if (simd !== undefined && simd !== 'relaxed' && simd !== 'baseline') {
    throw new ParameterError(`simd must be 'relaxed' or 'baseline', got '${simd}'`);
  }
  if (webgpu !== undefined && backend !== 'webgpu')
    throw new UnsupportedError(`the option webgpu needs backend 'webgpu', got '${backend}'`);
  if (backend === 'webgpu' || backend === 'reference') {
    if (threads !== undefined || simd !== undefined) {
      throw new UnsupportedError(
        `the ${backend} backend has no threads and no SIMD to choose: leave threads and simd out`,
      );
    }
    if (backend === 'reference') return new Runtime(new ReferenceBackend());
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

function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value];
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value)) return [];
  return Object.values(value).filter((entry) => entry instanceof Tensor);
}
