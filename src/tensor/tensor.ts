import { show } from '../check';
import { DisposedError, ParameterError, ShapeError, UnsupportedError } from '../errors';
import type { Buffer } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import type { GpuBufferLike } from '../runtime/webgpu/adapter';
import { describesItself } from '../text/inspect';
import { bytesPerElement, type DType, type TypedArrayOf, typedArray } from './dtype';
import { type HostTensor, toRowMajor } from './host';
import {
  checkShape,
  formatShape,
  hasElementIn,
  isContiguous,
  lastElement,
  rowMajorStrides,
  type Shape,
  sizeOf,
} from './shape';
import type { Recording, Variable, View } from './tape';
import { faultIn, type Work, Written } from './work';

/** Of a view its tape records that there is a gradient with respect to what it is a view of. */
const OF_VIEW: ReadonlySet<string> = new Set(['x']);
const NOTHING = {};
const NO_WORKS: readonly Work[] = [];

export const disposeKey: typeof Symbol.dispose = Symbol.dispose ?? Symbol.for('Symbol.dispose');

/** Memory shared by a tensor and its views, in bytes; released with the last of them. */
export class Storage extends Written {
  #references = 1;
  /** Calls and reads whose turn is not over. */
  #uses = 0;
  /** Tapes that keep it for a backward pass. */
  #tapes = 0;
  /** The tape that tracks what was computed into it. */
  recording: Recording | undefined;

  constructor(
    readonly runtime: Runtime,
    readonly buffer: Buffer,
  ) {
    super();
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references === 0) this.runtime.backend.release(this.buffer);
  }

  /** For a call or a read, until its turn is over. */
  hold(): this {
    this.#uses++;
    return this.retain();
  }

  letGo(): void {
    this.#uses--;
    this.release();
  }

  /** For a tape: until its backward pass has read it. */
  keep(): this {
    this.#tapes++;
    return this.retain();
  }

  endKeeping(): void {
    this.#tapes--;
    this.release();
  }

  /** Whether a backward pass is to read it, or a tape takes it for what was computed: nobody may write to it before. */
  get isKept(): boolean {
    return this.#tapes > 0 || this.recording?.isOver === false;
  }

  /** Whether calls or reads are to come, or what was written is not known to be right. */
  get isInUse(): boolean {
    return this.#uses > 0 || this.isPending;
  }
}

const forgotten = new FinalizationRegistry<Storage>((storage) => storage.release());

/**
 * A strided view of memory that belongs to one runtime. Strides and offset count elements.
 * Free it with `using`, `dispose()` or an enclosing `runtime.scope()`; a forgotten one is freed by the collector.
 */
export class Tensor<D extends DType = DType> {
  readonly runtime: Runtime;
  /** Number of elements. */
  readonly size: number;
  readonly isContiguous: boolean;
  /** What it is to the tape that tracks it, if one does. */
  variable: Variable | undefined;
  #disposed = false;
  #endedWithScope = false;
  #isLeftToCollector = false;

  /** Tensors are made by a runtime, by ops and by views; this constructor takes over one reference of `storage`, and the arrays. */
  constructor(
    readonly storage: Storage,
    readonly dtype: D,
    readonly shape: Shape,
    readonly strides: readonly number[] = rowMajorStrides(shape),
    readonly offset = 0,
  ) {
    if (!(storage instanceof Storage))
      throw new ParameterError("storage of a Tensor is its runtime's: make tensors with runtime.tensor()");
    // Ops would read and write what lies beside its elements.
    Object.freeze(shape);
    Object.freeze(strides);
    this.runtime = storage.runtime;
    this.size = sizeOf(shape);
    this.isContiguous = isContiguous(shape, strides);
    this.runtime.own(this);
  }

  /** Only what this class made is one: a proxy of a tensor has none of what is private to it. */
  static [Symbol.hasInstance](value: unknown): value is Tensor {
    return typeof value === 'object' && value !== null && #disposed in value;
  }

  get rank(): number {
    return this.shape.length;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Whether a scope that ended disposed it. */
  get endedWithScope(): boolean {
    return this.#endedWithScope;
  }

  /** What it is, such as `Tensor(f32 [2, 3] on wasm)`; its elements are got by `read()`. */
  toString(): string {
    const { dtype, shape, runtime } = this;
    return `Tensor(${dtype} ${formatShape(shape)} on ${runtime.backend.name}${this.#disposed ? ', disposed' : ''})`;
  }

  /**
   * A copy of the elements in row-major order, once they are computed. Rejects with the fault of what they were computed
   * from, if there is one.
   */
  async read(): Promise<TypedArrayOf<D>> {
    this.assertUsable('read()');
    const { runtime, dtype, strides, shape, offset, size } = this;
    const elementBytes = bytesPerElement(dtype);
    const isContiguous = this.isContiguous;
    const span = isContiguous
      ? size
      : 1 + shape.reduce((sum, extent, axis) => sum + (extent - 1) * (strides[axis] as number), 0);
    const bytes = await runtime.read(this, offset * elementBytes, span * elementBytes);
    const elements = typedArray(dtype, span, bytes.buffer, bytes.byteOffset);
    return isContiguous ? elements : toRowMajor(elements, dtype, shape, strides);
  }

  /** The elements as a host tensor, in row-major order. */
  async toHost(): Promise<HostTensor<D>> {
    return { dtype: this.dtype, shape: this.shape, data: await this.read() };
  }

  /**
   * The elements in place, without a copy, on backends whose memory JavaScript can address.
   * Valid until the tensor is used otherwise or disposed, or the runtime's memory grows: take it anew for each use.
   * @throws {UnsupportedError} elsewhere, for strided views, while calls that use it are pending or it is kept for a backward
   *   pass; the fault, if any
   */
  get data(): TypedArrayOf<D> {
    this.assertUsable('data');
    const { view } = this.runtime.backend;
    if (!view)
      throw new UnsupportedError(`data of a ${this.runtime.backend.name} tensor is not in host memory: await read()`);
    if (!this.isContiguous)
      throw new UnsupportedError('data of a strided view is not in row-major order: await read()');
    this.#assertUnused('data');
    const { buffer, byteOffset } = view.call(this.runtime.backend, this.storage.buffer);
    return typedArray(this.dtype, this.size, buffer, byteOffset + this.offset * bytesPerElement(this.dtype));
  }

  /**
   * Where the elements lie on the GPU, in row-major order, without a copy: commands that the caller submits after
   * `await runtime.finish()` see what ops wrote. The buffer is of the device handed in as `webgpu.device`; valid until the
   * tensor is disposed.
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

  /** The calls that wrote some of its elements, where it is not known that these are right. */
  get writers(): readonly Work[] {
    if (!this.storage.isOpen) return NO_WORKS;
    const { shape, strides, offset, size } = this;
    const bytes = bytesPerElement(this.dtype);
    const touches = this.isContiguous
      ? (from: number, to: number) => offset * bytes < to && (offset + Math.max(1, size)) * bytes > from
      : (from: number, to: number) => hasElementIn(shape, strides, offset, from / bytes, to / bytes);
    return this.storage.by(touches);
  }

  /** For the call that writes all of its elements. */
  isWrittenBy(work: Work): void {
    const { shape, strides, offset, isContiguous } = this;
    const bytes = bytesPerElement(this.dtype);
    const past = isContiguous ? offset + Math.max(1, this.size) : 1 + lastElement(shape, strides, offset);
    this.storage.add(offset * bytes, past * bytes, work, !isContiguous);
  }

  /** The same elements under another shape; one extent may be -1. A strided view must keep its order in memory. */
  reshape(shape: Shape): Tensor<D> {
    this.assertUsable('reshape()');
    checkExtents(shape);
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
    const shape = this.shape.map((whole, a) => (a === axis ? end - start : whole));
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
   * The elements broadcast to a larger shape, without a copy: axes of extent 1 and axes in front repeat. For ops that take
   * strided views; `contiguous` makes a copy for the others.
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
    const result = new Tensor(this.storage.retain(), this.dtype, shape, strides, offset);
    const { variable } = this;
    if (variable && !variable.tape.ended) {
      result.variable = variable.tape.variable(result);
      const [inputs, results] = [{ x: variable }, { x: result.variable }];
      variable.tape.record({ name: view.kind, inputs, wanted: OF_VIEW, results, saved: NOTHING, derivative: view });
    }
    return result;
  }

  /** Frees the memory once no other view holds it. Disposing twice is harmless. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (this.#isLeftToCollector) forgotten.unregister(this);
    this.runtime.disown(this);
    this.storage.release();
  }

  /** Once it is in no scope: where it is forgotten, the collector finds it. */
  leaveToCollector(): void {
    if (this.#isLeftToCollector) return;
    this.#isLeftToCollector = true;
    forgotten.register(this, this.storage, this);
  }

  /** What a scope does at its end. */
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

function checkExtents(shape: Shape): void {
  if (!Array.isArray(shape)) throw new ShapeError(`shape must be an array of extents, got ${show(shape)}`);
}

/** Strides under which `shape` walks the same memory in the same order, or undefined where none exist. */
function stridesAfterReshape(from: Shape, strides: readonly number[], shape: Shape): number[] | undefined {
  if (sizeOf(from) === 0) return rowMajorStrides(shape);
  const axes = from
    .map((extent, axis) => ({ extent, stride: strides[axis] as number }))
    .filter(({ extent }) => extent !== 1);
  // Merge neighbouring axes that lie in one run of memory, then split the runs anew from the right.
  const runs: { extent: number; stride: number }[] = [];
  for (const { extent, stride } of axes) {
    const last = runs.at(-1);
    if (last && last.stride === extent * stride) {
      last.extent *= extent;
      last.stride = stride;
    } else runs.push({ extent, stride });
  }
  const result = new Array<number>(shape.length).fill(1);
  let run = runs.pop();
  let taken = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const extent = shape[axis] as number;
    if (extent === 1) continue;
    if (run && taken === run.extent) {
      run = runs.pop();
      taken = 1;
    }
    if (!run || run.extent % (taken * extent) !== 0) return undefined;
    result[axis] = run.stride * taken;
    taken *= extent;
  }
  return result;
}
