/** Plans for the CPU run by some executor, over one heap. */
import { bytesPerElement, type TypedArray, typedArray } from '../../tensor/dtype';
import type { Elements } from '../../tensor/elements';
import { type HostTensor, toFloat64, toRowMajor } from '../../tensor/host';
import { isContiguous, lastElement, sizeOf } from '../../tensor/shape';
import type { Backend, BackendName, Control } from '../backend';
import { checkExpectations } from '../expectations';
import { controlOf } from '../guard';
import type { Buffer, MemoryReport } from '../memory';
import type { Native } from '../native/open';
import type { Op } from '../op';
import { type Pause, until } from '../order';
import { inTurns } from '../turns';
import type { KernelFiles } from '../wasm/files';
import { type Heap, type HeapBuffer, sizeInHeap } from './heap';
import { KeptTables } from './kept-tables';
import type { Job, Machine, NativePlan, NativePlans, Plan } from './plan';

/** The latest choices of plans that `explain()` tells. */
const MOST_CHOICES = 16;

/** Runs the kernels of jobs: WebAssembly on threads, or whatever else has them. */
export interface Executor<Kernels> {
  /** At least 1. */
  readonly threads: number;
  /** Machine code, if it may be run, and plans by the names that ops have for them. */
  readonly native?: Native | undefined;
  readonly nativePlans?: NativePlans | undefined;
  /** The kernels of these files, which may have to be loaded first, and what they need if they run programs. */
  kernelsOf(files: KernelFiles, interprets: boolean): Kernels | Promise<Kernels>;
  run(kernels: Kernels, job: Job, control: Control): Generator<Pause, void, void>;
  /** Throws if the call is cancelled, or the executor disposed. */
  check(signal: Control['signal']): void;
  dispose(): void;
}

export class CpuBackend<Kernels> implements Backend {
  readonly #tables: KeptTables;
  readonly #machine: Machine;
  /** In the order of their last use. */
  readonly #choices = new Set<string>();

  constructor(
    readonly name: BackendName,
    private readonly heap: Heap,
    private readonly executor: Executor<Kernels>,
    private readonly facts: readonly string[],
  ) {
    this.#tables = new KeptTables(heap);
    this.#machine = { memory: heap.memory, threads: executor.threads, native: executor.native };
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
    return [...this.facts, ...this.#choices];
  }

  async load(files: readonly KernelFiles[]): Promise<void> {
    await Promise.all(files.map(async (each) => this.executor.kernelsOf(each, false)));
  }

  dispose(): void {
    this.executor.dispose();
  }

  known(x: Elements): HostTensor {
    return { dtype: x.dtype, shape: x.shape, data: this.#elements(x).slice() as never };
  }

  *run<Call>(op: Op<Call>, call: Call, control: Control): Generator<Pause, undefined, void> {
    const check = () => this.executor.check(control.signal);
    check();
    const native = this.executor.nativePlans?.[op.native ?? ''] as NativePlan<Call> | undefined;
    const made = native?.(call, this.#machine as Parameters<typeof native>[1]) ?? op.cpu(call, this.#machine);
    const isSteps = 'next' in made;
    const plan = isSteps ? yield* inTurns(made, controlOf(control, 0, 2).onProgress, check) : made;
    if (plan.choice) this.#remember(plan.choice);
    const files = plan.kernels ?? op.kernels;
    const loading = files && this.executor.kernelsOf(files, plan.interprets ?? false);
    const kernels = loading instanceof Promise ? yield* until(loading) : loading;
    yield* this.#runPlan(kernels as Kernels, plan, isSteps ? controlOf(control, 1, 2) : control);
    checkExpectations(op, call, (x) => this.#numbers(x));
  }

  *#runPlan(kernels: Kernels, { bytes = {}, tables = [], jobs }: Plan, control: Control): Generator<Pause, void, void> {
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
        yield* this.executor.run(kernels, planned[index] as Job, controlOf(control, index, planned.length));
    } finally {
      if (buffer) this.heap.release(buffer);
      this.#tables.end(tables);
    }
  }

  #remember(choice: string): void {
    this.#choices.delete(choice);
    this.#choices.add(choice);
    if (this.#choices.size > MOST_CHOICES) this.#choices.delete(this.#choices.values().next().value as string);
  }

  #numbers(x: Elements): ArrayLike<number> {
    const { dtype, shape } = x;
    const data = this.#elements(x);
    return dtype === 'f32' || dtype === 'i32'
      ? (data as Float32Array)
      : toFloat64({ dtype, shape, data } as HostTensor);
  }

  /** The elements in row-major order, in place if possible. */
  #elements({ dtype, shape, strides, offset, storage }: Elements): TypedArray {
    const at = (storage.buffer as HeapBuffer).address + offset * bytesPerElement(dtype);
    const inPlace = isContiguous(shape, strides);
    const length = inPlace ? sizeOf(shape) : 1 + lastElement(shape, strides, 0);
    const values = typedArray(dtype, length, this.heap.memory.buffer, at);
    return inPlace ? values : toRowMajor(values, dtype, shape, strides);
  }

  #bytes(buffer: Buffer, byteOffset: number, length: number): Uint8Array {
    return new Uint8Array(this.heap.memory.buffer, (buffer as HeapBuffer).address + byteOffset, length);
  }
}
