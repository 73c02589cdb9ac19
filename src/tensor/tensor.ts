/** Tensors, and the runtimes that they live on. */
import { checkChoice, checkFunction, checkNoPromise, checkOptions, checkWhole, show } from '../check';
import { DisposedError, DTypeError, ParameterError, ShapeError, UnsupportedError } from '../errors';
import type { Backend } from '../runtime/backend';
import type { Calls } from '../runtime/calls';
import type { MemoryReport } from '../runtime/memory';
import type { GpuBufferLike } from '../runtime/webgpu/adapter';
import { describesItself } from '../text/inspect';
import { bytesPerElement, DTYPES, type DType, type TypedArrayOf, typedArray } from './dtype';
import { checkHost, convert, type HostTensor, hostTensor, type Numbers, toRowMajor } from './host';
import { flattened, type NestedNumbers } from './nested';
import { faultIn, type Outcome } from './outcome';
import { normal, uniform } from './random';
import {
  checkShape,
  formatShape,
  frozen,
  hasElementIn,
  isContiguous,
  lastElement,
  rowMajorStrides,
  type Shape,
  sizeOf,
  stridesAfterReshape,
} from './shape';
import { type CallTensor, Storage } from './storage';
import { mapLeaves } from './structure';

const NO_OUTCOMES: readonly Outcome[] = [];

export const disposeKey: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');

/** How a view was taken of a tensor. */
export type View =
  | { readonly kind: 'reshape' | 'expand' }
  | { readonly kind: 'permute'; readonly axes: readonly number[] }
  | { readonly kind: 'slice'; readonly axis: number; readonly start: number };

/** What a tape knows of a tensor that it tracks. */
export interface Tracked {
  /** Records a view of the tensor, which becomes tracked too; undefined once the tape has ended. */
  view(view: View, result: Tensor): Tracked | undefined;
}

const forgotten = new FinalizationRegistry<Storage>((storage) => storage.release());

/**
 * A strided view of memory that belongs to one runtime. Strides and offset count elements. Free it with `using`, `dispose()`
 * or an enclosing `runtime.scope()`; the garbage collector frees those that are forgotten.
 */
export class Tensor<D extends DType = DType> implements CallTensor {
  readonly shape: Shape;
  readonly strides: readonly number[];
  /** Number of elements. */
  readonly size: number;
  readonly isContiguous: boolean;
  /** Set while a tape tracks it. */
  variable: Tracked | undefined;
  #disposed = false;
  #endedWithScope = false;
  #isLeftToCollector = false;

  /** For runtimes, ops and views: takes over one reference of `storage`, and the arrays. */
  constructor(
    readonly runtime: Runtime,
    readonly storage: Storage,
    readonly dtype: D,
    shape: Shape,
    strides: readonly number[] = rowMajorStrides(shape),
    readonly offset = 0,
  ) {
    if (!(storage instanceof Storage))
      throw new ParameterError("storage of a Tensor is its runtime's: make tensors with runtime.tensor()");
    // With other extents ops would read and write beyond its elements.
    this.shape = frozen(shape);
    this.strides = frozen(strides);
    this.size = sizeOf(shape);
    this.isContiguous = isContiguous(shape, strides);
    runtime.own(this);
  }

  /** A proxy of a tensor is none, since it lacks the private fields. */
  static [Symbol.hasInstance](value: unknown): value is Tensor {
    return typeof value === 'object' && value !== null && #disposed in value;
  }

  get rank(): number {
    return this.shape.length;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Whether it was disposed by the end of a scope. */
  get endedWithScope(): boolean {
    return this.#endedWithScope;
  }

  /** Such as `Tensor(f32 [2, 3] on wasm)`. */
  toString(): string {
    const { dtype, shape, runtime } = this;
    return `Tensor(${dtype} ${formatShape(shape)} on ${runtime.backend.name}${this.#disposed ? ', disposed' : ''})`;
  }

  /** A copy of the elements in row-major order, once they are computed. Rejects if something they depend on failed. */
  async read(): Promise<TypedArrayOf<D>> {
    this.assertUsable('read()');
    const { runtime, dtype, strides, shape, offset, size, isContiguous } = this;
    const elementBytes = bytesPerElement(dtype);
    const span = isContiguous ? size : 1 + lastElement(shape, strides, 0);
    const bytes = await runtime.calls.read(this, offset * elementBytes, span * elementBytes);
    const elements = typedArray(dtype, span, bytes.buffer, bytes.byteOffset);
    return isContiguous ? elements : toRowMajor(elements, dtype, shape, strides);
  }

  /** The elements as a host tensor, in row-major order. */
  async toHost(): Promise<HostTensor<D>> {
    return { dtype: this.dtype, shape: this.shape, data: await this.read() };
  }

  /**
   * The elements in place, without a copy, on backends whose memory JavaScript can address. Valid until the tensor is used
   * otherwise or disposed, or the runtime's memory grows: get it again for each use.
   * @throws {UnsupportedError} on other backends, for strided views, while calls that use it are pending or it is kept for a
   *   backward pass; also throws what went wrong with the call that computed it
   */
  get data(): TypedArrayOf<D> {
    this.assertUsable('data');
    const { backend } = this.runtime;
    if (!backend.view)
      throw new UnsupportedError(`data of a ${backend.name} tensor is not in host memory: await read()`);
    if (!this.isContiguous)
      throw new UnsupportedError('data of a strided view is not in row-major order: await read()');
    this.#assertUnused('data');
    const { buffer, byteOffset } = backend.view(this.storage.buffer);
    return typedArray(this.dtype, this.size, buffer, byteOffset + this.offset * bytesPerElement(this.dtype));
  }

  /**
   * The GPU buffer of the elements, in row-major order, without a copy: commands that the caller submits after
   * `await runtime.finish()` see what ops wrote. The buffer belongs to the device passed as `webgpu.device` and is valid until
   * the tensor is disposed.
   * @throws {UnsupportedError} on other backends than webgpu, for strided views, while calls that use it are pending or it is
   *   kept for a backward pass
   */
  get gpuBuffer(): { readonly buffer: GpuBufferLike; readonly byteOffset: number; readonly bytes: number } {
    this.assertUsable('gpuBuffer');
    const { backend } = this.runtime;
    if (!backend.gpuBuffer)
      throw new UnsupportedError(`gpuBuffer of a ${backend.name} tensor: it is in no GPU's memory, await read()`);
    if (!this.isContiguous) throw new UnsupportedError('gpuBuffer of a strided view is not in row-major order');
    this.#assertUnused('gpuBuffer');
    const elementBytes = bytesPerElement(this.dtype);
    const buffer = backend.gpuBuffer(this.storage.buffer);
    return { buffer, byteOffset: this.offset * elementBytes, bytes: this.size * elementBytes };
  }

  #assertUnused(use: string): void {
    if (this.storage.isKept)
      throw new UnsupportedError(
        `${use}: the tensor is tracked or kept for a backward pass, so that nothing may be written to it: await read()`,
      );
    if (this.storage.isInUse)
      throw new UnsupportedError(`${use}: a call that uses the tensor is pending: await runtime.finish()`);
    const fault = faultIn(this.writers);
    if (fault) throw fault.error;
  }

  get writers(): readonly Outcome[] {
    if (!this.storage.isOpen) return NO_OUTCOMES;
    const { shape, strides, offset, size } = this;
    const bytes = bytesPerElement(this.dtype);
    const touches = this.isContiguous
      ? (from: number, to: number) => offset * bytes < to && (offset + Math.max(1, size)) * bytes > from
      : (from: number, to: number) => hasElementIn(shape, strides, offset, from / bytes, to / bytes);
    return this.storage.by(touches);
  }

  isWrittenBy(outcome: Outcome): void {
    const { shape, strides, offset, isContiguous } = this;
    const bytes = bytesPerElement(this.dtype);
    const past = isContiguous ? offset + Math.max(1, this.size) : 1 + lastElement(shape, strides, offset);
    this.storage.add(offset * bytes, past * bytes, outcome, !isContiguous);
  }

  /** The same elements with another shape; one extent may be -1. A strided view must keep its order in memory. */
  reshape(shape: Shape): Tensor<D> {
    this.assertUsable('reshape()');
    if (!Array.isArray(shape)) throw new ShapeError(`shape must be an array of extents, got ${show(shape)}`);
    const given = shape.filter((extent) => extent !== -1);
    checkShape('shape', given);
    const resolved = shape.map((extent) => (extent === -1 ? this.size / sizeOf(given) : extent));
    const fits = resolved.every(Number.isInteger) && sizeOf(resolved) === this.size;
    if (!fits || shape.length - given.length > 1) {
      throw new ShapeError(
        `reshape must keep ${this.size} elements of ${formatShape(this.shape)}, got ${formatShape(shape)}`,
      );
    }
    const strides = stridesAfterReshape(this.shape, this.strides, resolved);
    if (!strides) {
      throw new ShapeError(
        `a view of shape ${formatShape(this.shape)} and strides ${formatShape(this.strides)} cannot become ${formatShape(resolved)} without a copy`,
      );
    }
    return this.#view({ kind: 'reshape' }, resolved, strides);
  }

  /** The elements `start` to `end` (exclusive) along `axis`. */
  slice(axis: number, start: number, end: number): Tensor<D> {
    this.assertUsable('slice()');
    const extent = Number.isInteger(axis) ? this.shape[axis] : undefined;
    if (extent === undefined)
      throw new ShapeError(
        `axis must be one of the ${this.rank} axes of ${formatShape(this.shape)}, got ${show(axis)}`,
      );
    if (!(Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start <= end && end <= extent)) {
      throw new ShapeError(`slice of axis ${axis} must lie within 0 to ${extent}, got ${show(start)} to ${show(end)}`);
    }
    const shape = [...this.shape];
    shape[axis] = end - start;
    // An empty slice could begin outside the memory.
    const offset = sizeOf(shape) === 0 ? this.offset : this.offset + start * (this.strides[axis] as number);
    return this.#view({ kind: 'slice', axis, start }, shape, this.strides, offset);
  }

  /** The axes in another order. */
  permute(axes: readonly number[]): Tensor<D> {
    this.assertUsable('permute()');
    if (
      !Array.isArray(axes) ||
      axes.length !== this.rank ||
      new Set(axes).size !== this.rank ||
      axes.some((axis) => !(Number.isInteger(axis) && axis >= 0 && axis < this.rank))
    ) {
      throw new ShapeError(`permute must name each of the ${this.rank} axes once, got ${show(axes)}`);
    }
    const shape = axes.map((axis) => this.shape[axis] as number);
    const strides = axes.map((axis) => this.strides[axis] as number);
    return this.#view({ kind: 'permute', axes: [...axes] }, shape, strides);
  }

  /**
   * The elements broadcast to a larger shape, without a copy: axes of extent 1 and new axes in front repeat. For ops that
   * take strided views; `contiguous` makes a copy for the others.
   */
  expand(shape: Shape): Tensor<D> {
    this.assertUsable('expand()');
    checkShape('shape', shape);
    const front = shape.length - this.rank;
    const fits = front >= 0 && this.shape.every((extent, axis) => extent === 1 || extent === shape[front + axis]);
    if (!fits) throw new ShapeError(`expand must broadcast ${formatShape(this.shape)}, got ${formatShape(shape)}`);
    const strides = shape.map((_, axis) =>
      axis < front || this.shape[axis - front] === 1 ? 0 : (this.strides[axis - front] as number),
    );
    return this.#view({ kind: 'expand' }, [...shape], strides);
  }

  #view(view: View, shape: Shape, strides: readonly number[], offset = this.offset): Tensor<D> {
    const result = new Tensor(this.runtime, this.storage.retain(), this.dtype, shape, strides, offset);
    result.variable = this.variable?.view(view, result);
    return result;
  }

  /** Frees the memory unless another view holds it. Disposing twice is harmless. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#isLeftToCollector) forgotten.unregister(this);
    this.runtime.disown(this);
    this.storage.release();
  }

  /** Outside of scopes: the garbage collector frees it if it is forgotten. */
  leaveToCollector(): void {
    if (this.#isLeftToCollector) return;
    this.#isLeftToCollector = true;
    forgotten.register(this, this.storage, this);
  }

  /** For the end of a scope. */
  disposeWithScope(): void {
    this.#endedWithScope = true;
    this.dispose();
  }

  [disposeKey](): void {
    this.dispose();
  }

  /** Throws a DisposedError, naming `use`, after `dispose()`. */
  assertUsable(use: string): void {
    if (this.#disposed) {
      const how = this.#endedWithScope ? ' by a scope() that ended: return it from there' : '';
      throw new DisposedError(`${use}: the tensor of shape ${formatShape(this.shape)} was disposed${how}`);
    }
    this.runtime.assertUsable(use);
  }
}

describesItself(Tensor, 'Tensor');

/**
 * Where tensors live and operations run: a backend with its memory and threads, which `dispose()` frees. Made by
 * `createRuntime()`.
 */
export class Runtime {
  /** Tensors of the open scopes, innermost last. */
  readonly #scopes: Set<Tensor>[] = [];

  constructor(
    readonly backend: Backend,
    readonly calls: Calls<Tensor>,
  ) {}

  /**
   * A tensor with a copy of `data`. The dtype is that of the typed array, f32 for plain numbers; a `Uint16Array`
   * needs `'f16'` or `'bf16'`, and float64 numbers a dtype to be rounded to.
   */
  tensor<D extends DType = 'f32'>(data: Numbers, shape: Shape, dtype?: D): Tensor<D>;
  /**
   * A tensor of a number, an array, or nested arrays such as the rows of a matrix, which give the shape.
   * @throws {ShapeError} arrays of one axis that differ in length
   */
  tensor<D extends DType = 'f32'>(data: NestedNumbers | Numbers, dtype?: D): Tensor<D>;
  tensor<D extends DType = 'f32'>(data: Numbers | NestedNumbers, shape?: Shape | D, dtype?: D): Tensor<D> {
    if (shape !== undefined && typeof shape !== 'string')
      return this.fromHost(hostTensor(data as Numbers, shape, dtype) as HostTensor<D>);
    if (shape !== undefined && !DTYPES.includes(shape))
      throw new ShapeError(`shape must be an array of extents, or a dtype alone, got ${show(shape)}`);
    if (typeof data === 'number' || Array.isArray(data)) {
      const { numbers, shape: own } = flattened(data);
      return this.fromHost(hostTensor(numbers, own, shape) as HostTensor<D>);
    }
    const array = data as Exclude<Numbers, readonly number[]>;
    return this.fromHost(hostTensor(array, [array?.length], shape) as HostTensor<D>);
  }

  /** A tensor with a copy of a host tensor, such as those read from files. */
  fromHost<D extends DType>(host: HostTensor<D>): Tensor<D> {
    checkHost('host', host);
    return this.#filled(host.shape, host.dtype, () => host);
  }

  /** A tensor with undefined elements. */
  empty<D extends DType = 'f32'>(shape: Shape, dtype: D = 'f32' as D): Tensor<D> {
    this.assertUsable('runtime');
    checkElements(shape, dtype);
    return this.allocate([...shape], dtype);
  }

  /** For ops: the same; the shape has been checked and is taken over. */
  allocate<D extends DType>(shape: Shape, dtype: D): Tensor<D> {
    const buffer = this.backend.allocate(sizeOf(shape) * bytesPerElement(dtype), dtype);
    return new Tensor(this, new Storage(this.backend, buffer), dtype, shape);
  }

  /** A tensor of zeros. */
  zeros<D extends DType = 'f32'>(shape: Shape, dtype: D = 'f32' as D): Tensor<D> {
    return this.full(shape, 0, dtype);
  }

  /** A tensor of ones. */
  ones<D extends DType = 'f32'>(shape: Shape, dtype: D = 'f32' as D): Tensor<D> {
    return this.full(shape, 1, dtype);
  }

  /** A tensor whose elements are all `value`. */
  full<D extends DType = 'f32'>(shape: Shape, value: number, dtype: D = 'f32' as D): Tensor<D> {
    if (typeof value !== 'number') throw new ParameterError(`value must be a number, got ${show(value)}`);
    return this.#filled(shape, dtype, (size) => {
      const { data } = hostTensor([value], [1], dtype);
      return { dtype, shape, data: typedArray(dtype, size).fill(data[0] as never) as TypedArrayOf<D> };
    });
  }

  /** `start`, `start + step`, ... before `end`: [ceil((end - start) / step)]. */
  arange<D extends DType = 'f32'>(
    end: number,
    options: {
      /** Default 0. */
      readonly start?: number | undefined;
      /** Not 0; default 1. */
      readonly step?: number | undefined;
      readonly dtype?: D | undefined;
    } = {},
  ): Tensor<D> {
    checkOptions('arange()', options, ['start', 'step', 'dtype']);
    const { start = 0, step = 1, dtype = 'f32' as D } = options;
    for (const [name, value] of Object.entries({ end, start, step }))
      if (!Number.isFinite(value)) throw new ParameterError(`${name} must be a finite number, got ${show(value)}`);
    if (step === 0) throw new ParameterError('step must be a number other than 0, got 0');
    const length = Math.max(0, Math.ceil((end - start) / step));
    return this.#filled([length], dtype, () => {
      const data = Float64Array.from({ length }, (_, at) => start + at * step);
      return convert({ dtype: 'f64', shape: [length], data }, dtype);
    });
  }

  /** The identity matrix [n, n]. */
  eye<D extends DType = 'f32'>(n: number, dtype: D = 'f32' as D): Tensor<D> {
    checkWhole('n', n, 0);
    return this.#filled([n, n], dtype, (size) => {
      const [one] = hostTensor([1], [1], dtype).data;
      const data = typedArray(dtype, size);
      for (let at = 0; at < size; at += n + 1) data[at] = one as number;
      return { dtype, shape: [n, n], data };
    });
  }

  /**
   * A tensor in the caller's GPU buffer, without a copy, from `byteOffset` (a multiple of 4) on. The buffer belongs to the
   * device passed as `webgpu.device` and has the usages STORAGE, COPY_SRC and COPY_DST. It stays the caller's, who keeps it,
   * unmapped, while the tensor is used; two tensors in one buffer must not overlap where an op writes.
   * @throws {UnsupportedError} on backends other than webgpu
   * @throws {ParameterError | ShapeError} for a buffer that cannot hold it; with a buffer of another device the first use rejects
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
    return new Tensor(this, new Storage(backend, adopted), dtype, [...shape], undefined, byteOffset / elementBytes);
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

  /** A tensor with the elements that `work` returns for their number; allocated first, so that lack of memory shows early. */
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
   * Runs `work`, which is synchronous, and disposes every tensor made meanwhile except those it returns (alone, or in a tree
   * of arrays and plain objects), which pass to the enclosing scope.
   *
   * @throws {SaccadeError} if `work` returns a promise: what it does later would be outside of the scope
   */
  scope<T>(work: () => T, name = 'work of scope()'): T {
    this.assertUsable('scope()');
    checkFunction(name, work);
    const owned = new Set<Tensor>();
    this.#scopes.push(owned);
    try {
      const result = work();
      checkNoPromise(
        name,
        result,
        ': call ops without await, which return their tensors at once, and read after the scope; where work must wait, dispose by hand (using, dispose())',
      );
      for (const tensor of tensorsIn(result, `what ${name} returns`))
        if (owned.delete(tensor)) addTo(this.#scopes.at(-2), tensor);
      return result;
    } finally {
      this.#scopes.pop();
      for (const tensor of owned) tensor.disposeWithScope();
    }
  }

  /** Adds a new tensor to the innermost open scope. */
  own(tensor: Tensor): void {
    addTo(this.#scopes.at(-1), tensor);
  }

  disown(tensor: Tensor): void {
    for (const owned of this.#scopes) owned.delete(tensor);
  }

  /** For a tensor that outlives the scopes it was made in: its owner disposes it, or the garbage collector. */
  keepBeyondScopes(tensor: Tensor): void {
    this.disown(tensor);
    tensor.leaveToCollector();
  }

  /**
   * Resolves when everything called so far has been computed; time calls up to here. Rejects with the first fault that has not
   * been reported by a read or an earlier `finish()`; later ones, which often have the same cause, then count as reported.
   */
  async finish(): Promise<void> {
    return this.calls.finish();
  }

  /** Live and peak bytes. */
  memory(): MemoryReport {
    return this.backend.memory();
  }

  /** What was chosen and why: backend, threads, kind of SIMD, what is missing, and the ways of the latest large convolutions. One fact per line. */
  explain(): string {
    return this.backend.explain().join('\n');
  }

  /** Such as `Runtime(wasm)`; `explain()` says more. */
  toString(): string {
    return `Runtime(${this.backend.name}${this.calls.disposed ? ', disposed' : ''})`;
  }

  /** Throws a DisposedError, naming `use`, after `dispose()`. */
  assertUsable(use: string): void {
    this.calls.assertUsable(use);
  }

  /** Frees memory and threads; pending calls reject, and tensors of this runtime cannot be used afterwards. */
  dispose(): void {
    this.calls.dispose();
  }

  [disposeKey](): void {
    this.dispose();
  }
}

describesItself(Runtime, 'Runtime');

function addTo(scope: Set<Tensor> | undefined, tensor: Tensor): void {
  if (scope) scope.add(tensor);
  else tensor.leaveToCollector();
}

function checkElements(shape: Shape, dtype: DType): void {
  checkShape('shape', shape);
  if (!DTYPES.includes(dtype)) throw new DTypeError(`dtype must be one of ${DTYPES.join(', ')}, got ${show(dtype)}`);
}

/** The tensors in arrays and plain objects; `what` names the value in error messages. */
export const tensorsIn = (value: unknown, what?: string): Tensor[] => Object.values(tensorsByPath(value, '', what));

/** The same, by `prefix` and their paths in the value. */
export function tensorsByPath(value: unknown, prefix = '', what?: string): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  mapLeaves(
    value,
    (leaf, path) => {
      if (leaf instanceof Tensor) tensors[prefix + path] = leaf;
    },
    what,
  );
  return tensors;
}
