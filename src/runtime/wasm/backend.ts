/** The CPU backend: AssemblyScript kernels over one shared heap, on worker threads where the platform has them. */
import { BackendError, UnsupportedError } from '../../errors';
import { bytesPerElement, type TypedArray, typedArray } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import { type HostTensor, toFloat64, toRowMajor } from '../../tensor/host';
import { isContiguous, lastElement, sizeOf } from '../../tensor/shape';
import type { Backend, Control } from '../backend';
import { checkExpectations } from '../expectations';
import { controlOf } from '../guard';
import type { Buffer, MemoryReport } from '../memory';
import type { Op } from '../op';
import { type Pause, until } from '../order';
import { inTurns } from '../turns';
import { Heap, type HeapBuffer, sizeInHeap } from './heap';
import { KeptTables } from './kept-tables';
import { type KernelFiles, Modules } from './modules';
import type { Job, Machine, Plan } from './plan';
import { availableThreads, Pool } from './pool';
import { hasRelaxedSimd, hasSimd } from './probe';
import { HEAP_BASE, type Module } from './schedule';

export interface WasmOptions {
  readonly threads?: number | undefined;
  readonly simd?: 'relaxed' | 'baseline' | undefined;
}

export class WasmBackend implements Backend {
  readonly name = 'wasm';
  readonly #tables: KeptTables;
  readonly #machine: Machine;

  private constructor(
    private readonly heap: Heap,
    private readonly pool: Pool,
    private readonly modules: Modules,
    private readonly facts: readonly string[],
  ) {
    this.#tables = new KeptTables(heap);
    this.#machine = { memory: heap.memory, threads: Math.max(1, pool.threads) };
  }

  static async create({ threads: asked, simd }: WasmOptions): Promise<WasmBackend> {
    if (!hasSimd()) throw new UnsupportedError('this platform has no WebAssembly SIMD: use a current browser or Node');
    const build = simd ?? (hasRelaxedSimd() ? 'relaxed' : 'baseline');
    if (build === 'relaxed' && !hasRelaxedSimd()) {
      throw new UnsupportedError(
        "simd 'relaxed' cannot be had: this platform lacks it (Node 22 and later and current browsers have it); leave simd out or say 'baseline'",
      );
    }
    const available = availableThreads();
    if (asked !== undefined && asked > 1 && available.threads === 0) {
      throw new UnsupportedError(`${asked} threads cannot be had: ${available.reason}`);
    }
    checkPolicy();
    const heap = new Heap(HEAP_BASE);
    const open = async (threads: number) => {
      const pool = new Pool(threads, heap.memory);
      await pool.start();
      return pool;
    };

    let reason = asked === undefined || available.threads === 0 ? available.reason : 'as asked';
    const pool = await open(available.threads && (asked ?? available.threads)).catch((error) => {
      if (!(error instanceof BackendError) || asked !== undefined) throw error;
      reason = error.message;
      return open(0);
    });
    return new WasmBackend(heap, pool, new Modules(heap, build, pool.threads), [
      'backend: wasm',
      build === 'relaxed'
        ? 'kernels: relaxed SIMD, with fused multiply-add'
        : `kernels: baseline SIMD (${simd ? 'as asked' : 'this platform has no relaxed SIMD: Node 22 and later have it'})`,
      pool.threads > 0 ? `threads: ${pool.threads} (${reason})` : `threads: 1, the calling one (${reason})`,
      `memory: up to ${heap.maximumBytes / 2 ** 20} MiB`,
    ]);
  }

  get mostBytes(): number {
    return this.heap.maximumBytes;
  }

  allocate(bytes: number): Buffer {
    return this.heap.allocate(bytes);
  }

  release(buffer: Buffer): void {
    this.heap.release(buffer as HeapBuffer);
  }

  write(buffer: Buffer, bytes: Uint8Array, byteOffset = 0): void {
    this.#bytes(buffer, byteOffset, bytes.length).set(bytes);
  }

  async read(buffer: Buffer, byteOffset: number, length: number): Promise<Uint8Array> {
    return this.#bytes(buffer, byteOffset, length).slice();
  }

  view(buffer: Buffer): { readonly buffer: ArrayBufferLike; readonly byteOffset: number } {
    return { buffer: this.heap.memory.buffer, byteOffset: (buffer as HeapBuffer).address };
  }

  memory(): MemoryReport {
    return this.heap.report();
  }

  resetPeak(): void {
    this.heap.resetPeak();
  }

  explain(): readonly string[] {
    return this.facts;
  }

  dispose(): void {
    this.pool.dispose();
  }

  known(x: Elements): HostTensor {
    return { dtype: x.dtype, shape: x.shape, data: this.#elements(x).slice() as never };
  }

  *run<Call>(op: Op<Call>, call: Call, control: Control): Generator<Pause, undefined, void> {
    const check = () => this.pool.check(control.signal);
    check();
    const module = op.kernels && (yield* this.#moduleOf(op.kernels));
    const made = op.wasm(call, this.#machine);
    const isSteps = 'next' in made;
    const plan = isSteps ? yield* inTurns(made, controlOf(control, 0, 2).onProgress, check) : made;
    yield* this.#runPlan(module, plan, isSteps ? controlOf(control, 1, 2) : control);
    checkExpectations(op, call, (x) => this.#numbers(x));
  }

  *#moduleOf(files: KernelFiles): Generator<Pause, Module, void> {
    const module = this.modules.of(files);
    return module instanceof Promise ? yield* until(module) : module;
  }

  *#runPlan(
    module: Module | undefined,
    { bytes = {}, tables = [], jobs }: Plan,
    control: Control,
  ): Generator<Pause, void, void> {
    let buffer: HeapBuffer | undefined;
    this.#tables.begin(tables);
    try {
      const addresses: Record<string, number> = {};
      let size = 0;
      for (const name in bytes) {
        addresses[name] = size;
        size += sizeInHeap(bytes[name] as number);
      }
      if (size > 0) {
        buffer = this.heap.allocate(size);
        for (const name in bytes) addresses[name] = (addresses[name] as number) + buffer.address;
      }
      const planned = jobs(addresses, (table) => this.#tables.addressOf(table));
      for (let index = 0; index < planned.length; index++)
        yield* this.pool.run(module as Module, planned[index] as Job, controlOf(control, index, planned.length));
    } finally {
      if (buffer) this.heap.release(buffer);
      this.#tables.end(tables);
    }
  }

  #numbers(x: Elements): ArrayLike<number> {
    const { dtype, shape } = x;
    const data = this.#elements(x);
    return dtype === 'f32' || dtype === 'i32'
      ? (data as Float32Array)
      : toFloat64({ dtype, shape, data } as HostTensor);
  }

  /** The elements in row-major order, where they lie if they lie so. */
  #elements({ dtype, shape, strides, offset, storage }: Elements): TypedArray {
    const at = (storage.buffer as HeapBuffer).address + offset * bytesPerElement(dtype);
    const inOrder = isContiguous(shape, strides);
    const length = inOrder ? sizeOf(shape) : 1 + lastElement(shape, strides, 0);
    const values = typedArray(dtype, length, this.heap.memory.buffer, at);
    return inOrder ? values : toRowMajor(values, dtype, shape, strides);
  }

  #bytes(buffer: Buffer, byteOffset: number, length: number): Uint8Array {
    return new Uint8Array(this.heap.memory.buffer, (buffer as HeapBuffer).address + byteOffset, length);
  }
}

/** Policies let modules be validated but not compiled, not even an empty one. */
function checkPolicy(): void {
  try {
    new WebAssembly.Module(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  } catch (error) {
    throw new UnsupportedError(
      `WebAssembly is not allowed here: a content security policy must have 'wasm-unsafe-eval' in its script-src, or use backend 'webgpu' (${(error as Error).message})`,
    );
  }
}
