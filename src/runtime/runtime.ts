import { checkChoice, checkFunction, checkNoPromise, checkOptions, checkWhole, show } from '../check';
import { DisposedError, DTypeError, ParameterError, ShapeError, UnsupportedError } from '../errors';
import type { Op } from '../ops/op';
import { bytesPerElement, DTYPES, type DType, type TypedArrayOf, typedArray } from '../tensor/dtype';
import { checkHost, convert, type HostTensor, hostTensor, type Numbers } from '../tensor/host';
import { flattened, type NestedNumbers } from '../tensor/nested';
import { normal, uniform } from '../tensor/random';
import { checkShape, type Shape, sizeOf } from '../tensor/shape';
import { tensorsIn } from '../tensor/structure';
import { disposeKey, Storage, Tensor } from '../tensor/tensor';
import { type Fault, faultIn, type Part, Work, writersOf } from '../tensor/work';
import { describesItself } from '../text/inspect';
import { BACKENDS, type Backend, type BackendName, type Control, type MemoryReport } from './backend';
import { guard } from './guard';
import { Order, type Turn, until } from './order';
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
  readonly #order = new Order();
  /** What open scopes own, innermost last. */
  readonly #scopes: Set<Tensor>[] = [];
  /** Faults in the order in which they came up, of which nobody has been told. */
  #untold: Fault[] = [];
  /** Errors that somebody has been told of, which other faults may have too: what ends several calls is one. */
  readonly #told = new WeakSet<object>();
  /** Calls of which it is not known yet whether they have a fault though their turn is over. */
  readonly #unsettled = new Set<Work>();
  /** Whom `watch` tells of calls. */
  #onCall: ((op: string, outputs: readonly Tensor[]) => void) | undefined;
  #disposed = false;

  constructor(readonly backend: Backend) {}

  /**
   * A tensor with a copy of `data`. The dtype is that of the typed array, f32 for plain numbers; a `Uint16Array`
   * needs `'f16'` or `'bf16'`, and float64 numbers a dtype to be rounded to.
   */
  tensor<D extends DType = 'f32'>(data: Numbers, shape: Shape, dtype?: D): Tensor<D>;
  /**
   * A tensor of a number, an array, or arrays within arrays such as the rows of a matrix, whose shape is theirs.
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

  /** A tensor with a copy of a host tensor, such as the file readers give. */
  fromHost<D extends DType>(host: HostTensor<D>): Tensor<D> {
    checkHost('host', host);
    return this.#filled(host.shape, host.dtype, () => host);
  }

  /** A tensor whose elements are not set. */
  empty<D extends DType = 'f32'>(shape: Shape, dtype: D = 'f32' as D): Tensor<D> {
    this.assertUsable('runtime');
    checkElements(shape, dtype);
    return this.allocate([...shape], dtype);
  }

  /** For ops: the same, of a shape that is checked and taken over. */
  allocate<D extends DType>(shape: Shape, dtype: D): Tensor<D> {
    const buffer = this.backend.allocate(sizeOf(shape) * bytesPerElement(dtype), dtype);
    return new Tensor(new Storage(this, buffer), dtype, shape);
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

  /** `start`, `start + step`, ..., as many as lie before `end`: [ceil((end - start) / step)]. */
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
    return new Tensor(new Storage(this, adopted), dtype, [...shape], undefined, byteOffset / elementBytes);
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
   * Runs `work`, which does not wait, and disposes every tensor made meanwhile except those it returns (alone, or in a tree
   * of arrays and plain objects), which pass to the enclosing scope.
   *
   * @throws {SaccadeError} work that returns a promise: what it does later would be in no scope
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
        if (owned.delete(tensor)) putUnder(this.#scopes.at(-2), tensor);
      return result;
    } finally {
      this.#scopes.pop();
      for (const tensor of owned) tensor.disposeWithScope();
    }
  }

  /** Puts a new tensor under the innermost open scope. */
  own(tensor: Tensor): void {
    putUnder(this.#scopes.at(-1), tensor);
  }

  disown(tensor: Tensor): void {
    for (const owned of this.#scopes) owned.delete(tensor);
  }

  /** For what outlives the scope in which it happens to be made: a tensor that its holder disposes, or the collector finds. */
  keepBeyondScopes(tensor: Tensor): void {
    this.disown(tensor);
    tensor.leaveToCollector();
  }

  /**
   * For ops: calls one whose arguments are checked, at once if nothing is ahead of it. What keeps it from its results, or
   * its device finds in them, is a fault of these and of all that is computed from them.
   */
  run<Call>(
    op: Op<Call>,
    call: CallOf<Call>,
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    control: Control,
  ): void {
    this.#order.makeRoomForCall();
    const work = new Work();
    const held: Storage[] = [];
    let sources = NONE;
    let bytes = 0;
    for (const input of inputs) {
      held.push(input.storage.hold());
      const { writers } = input;
      if (writers.length > 0) sources = [...sources, ...writers];
    }
    for (const part of call.reads ?? NO_PARTS) sources = [...sources, ...writersOf(part)];
    for (const output of outputs) {
      held.push(output.storage.hold());
      bytes += output.size * bytesPerElement(output.dtype);
      output.isWrittenBy(work);
    }
    for (const { written, from, to } of call.writes ?? NO_PARTS) written.add(from, to, work);
    this.#order.take(this.#turn(op, call, { work, sources, held }, control), bytes);
    this.#onCall?.(op.name, outputs);
  }

  /** Runs `work` and tells of each call of an op that it makes: which, and what it writes, perhaps later. */
  watch<T>(onCall: (op: string, outputs: readonly Tensor[]) => void, work: () => T): T {
    const before = this.#onCall;
    this.#onCall = onCall;
    try {
      return work();
    } finally {
      this.#onCall = before;
    }
  }

  *#turn<Call>(op: Op<Call>, call: CallOf<Call>, { work, sources, held }: CallInTurn, control: Control): Turn {
    let answer: Promise<void> | undefined;
    let fault: Fault | undefined;
    try {
      // A call follows only from elements that are right.
      for (const _ in call.known) for (const source of sources) if (!source.isSettled) yield* until(source.settled);
      fault = faultIn(sources);
      if (!fault) {
        if (this.#disposed) throw disposedWhilePending();
        const guarded = guard(control);
        guarded.check();
        const values: Record<string, HostTensor> = {};
        for (const name in call.known) {
          const value = this.backend.known(call.known[name] as Tensor);
          values[name] = value instanceof Promise ? yield* until(value) : value;
        }
        answer = yield* this.backend.run(op, call.make(values), guarded.control);
        guarded.check();
      }
    } catch (error) {
      fault = this.#faultOf(error);
    } finally {
      for (const storage of held) storage.letGo();
    }
    // What wrote its inputs may have turned out to be at fault while it paused.
    if (answer || sources.some(isPending)) void this.#settleLater({ work, sources }, fault, answer);
    else work.settle(fault ?? faultIn(sources));
  }

  async #settleLater(
    { work, sources }: Omit<CallInTurn, 'held'>,
    fault: Fault | undefined,
    answer: Promise<void> | undefined,
  ) {
    this.#unsettled.add(work);
    let own: { readonly error: unknown } | undefined;
    await answer?.catch((error) => {
      own = { error };
    });
    for (const { settled } of sources) await settled;
    this.#unsettled.delete(work);
    work.settle(fault ?? faultIn(sources) ?? (own && this.#faultOf(own.error)));
  }

  /** That somebody is being told of an error: `finish()` tells of no fault with it. Returns it, to be thrown. */
  tell(error: unknown): unknown {
    for (const fault of this.#untold) if (Object.is(fault.error, error)) fault.told = true;
    if (typeof error === 'object' && error !== null) this.#told.add(error);
    return error;
  }

  #faultOf(error: unknown): Fault {
    const fault = { error, told: this.#told.has(error as object) };
    this.#untold = this.#untold.filter(({ told }) => !told).slice(0, MOST_UNTOLD - 1);
    this.#untold.push(fault);
    return fault;
  }

  /** For tensors: a copy of bytes of memory once all that was called before is computed. */
  async read({ storage, writers }: Tensor, byteOffset: number, length: number): Promise<Uint8Array> {
    this.#order.makeRoom();
    storage.hold();
    const bytes = await new Promise<Uint8Array>((resolve, reject) => {
      this.#order.do(() => {
        if (this.#disposed) reject(disposedWhilePending());
        else if (faultIn(writers)) resolve(NO_BYTES);
        // A device's copy takes effect in its turn, whenever it arrives.
        else this.backend.read(storage.buffer, byteOffset, length).then(resolve, reject);
        storage.letGo();
      });
    });
    for (const { settled } of writers) await settled;
    const fault = faultIn(writers);
    if (fault) throw this.tell(fault.error);
    return bytes;
  }

  /**
   * Resolves when everything called so far is computed; time calls up to here. Rejects with the first fault of which
   * neither a read nor this has told; later ones up to here, which often have the same cause, count as told.
   */
  async finish(): Promise<void> {
    this.assertUsable('finish()');
    this.#order.makeRoom();
    await new Promise<void>((resolve) => this.#order.do(resolve));
    await this.backend.finish?.();
    await Promise.all([...this.#unsettled].map(({ settled }) => settled));
    const [first] = this.#untold.splice(0).filter(({ told }) => !told);
    if (first) throw this.tell(first.error);
  }

  /** Live and peak bytes. */
  memory(): MemoryReport {
    return this.backend.memory();
  }

  /** What was chosen and why: backend, threads, SIMD flavour, and what is missing. One fact a line. */
  explain(): string {
    return this.backend.explain().join('\n');
  }

  /** What it is, such as `Runtime(wasm)`; `explain()` says more. */
  toString(): string {
    return `Runtime(${this.backend.name}${this.#disposed ? ', disposed' : ''})`;
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

describesItself(Runtime, 'Runtime');

function putUnder(scope: Set<Tensor> | undefined, tensor: Tensor): void {
  if (scope) scope.add(tensor);
  else tensor.leaveToCollector();
}

/** Makes a call in its turn, when the elements of tensors are known that it follows from. */
interface CallOf<Call> {
  make(values: Readonly<Record<string, HostTensor>>): Call;
  readonly known?: Readonly<Record<string, Tensor>>;
  /** Beside its inputs and outputs. */
  readonly reads?: readonly Part[] | undefined;
  readonly writes?: readonly Part[] | undefined;
}

/** A call whose turn is to come. */
interface CallInTurn {
  readonly work: Work;
  /** What wrote its inputs. */
  readonly sources: readonly Work[];
  /** Memory that is there until it has been computed. */
  readonly held: readonly Storage[];
}

const disposedWhilePending = () => new DisposedError('the runtime was disposed while a call was pending');
const NONE: readonly Work[] = [];
const NO_PARTS: readonly Part[] = [];
const isPending = ({ isSettled }: Work) => !isSettled;

const NO_BYTES = new Uint8Array(0);
/** Faults of which nobody asks are forgotten beyond it, the latest first. */
const MOST_UNTOLD = 1000;

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
