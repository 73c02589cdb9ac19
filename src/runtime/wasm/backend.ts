/** The CPU backend: AssemblyScript kernels over one shared heap, on worker threads where the platform has them. */
import { BackendError, UnsupportedError } from '../../errors';
import type { Op } from '../../ops/op';
import { typedArray } from '../../tensor/dtype';
import { toFloat64, toRowMajor } from '../../tensor/host';
import type { Tensor } from '../../tensor/tensor';
import type { Backend, Buffer, Control, MemoryReport } from '../backend';
import { checkExpectations } from '../expectations';
import { controlOf, inTurns } from '../turns';
import { Heap, type HeapBuffer } from './heap';
import { KeptTables } from './kept-tables';
import { baseline, relaxed } from './kernels.generated';
import { PeakParams } from './params.generated';
import { address, FLOPS_PER_MICROSECOND, type Machine, type Plan } from './plan';
import { availableThreads, Pool } from './pool';
import { hasRelaxedSimd, hasSimd } from './probe';
import { HEAP_BASE, type Kernels } from './schedule';

export interface WasmOptions {
  readonly threads?: number | undefined;
  readonly simd?: 'relaxed' | 'baseline' | undefined;
}

/** Twelve vectors of four lanes, two operations each. */
const PEAK_OPERATIONS_PER_ROUND = 96;

export class WasmBackend implements Backend {
  readonly name = 'wasm';
  readonly #tables: KeptTables;
  readonly #machine: Machine;

  private constructor(
    private readonly heap: Heap,
    private readonly pool: Pool,
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
    const module = await compile(decodeBase64(build === 'relaxed' ? relaxed : baseline));
    const heap = new Heap(HEAP_BASE);
    const kernels = new WebAssembly.Instance(module, { env: { memory: heap.memory } }).exports as unknown as Kernels;
    kernels.initialise();
    const open = async (threads: number) => {
      const scratchBytes = kernels.scratchBytes();
      const scratch = heap.take((threads + 1) * scratchBytes);
      const pool = new Pool(threads, { module, memory: heap.memory, kernels, scratch, scratchBytes });
      await pool.start();
      return pool;
    };

    let reason = asked === undefined || available.threads === 0 ? available.reason : 'as asked';
    const pool = await open(available.threads && (asked ?? available.threads)).catch((error) => {
      if (!(error instanceof BackendError) || asked !== undefined) throw error;
      reason = error.message;
      return open(0);
    });
    return new WasmBackend(heap, pool, [
      'backend: wasm',
      build === 'relaxed'
        ? 'kernels: relaxed SIMD, with fused multiply-add'
        : `kernels: baseline SIMD (${simd ? 'as asked' : 'this platform has no relaxed SIMD: Node 22 and later have it'})`,
      pool.threads > 0 ? `threads: ${pool.threads} (${reason})` : `threads: 1, the calling one (${reason})`,
      `memory: up to ${heap.maximumBytes / 2 ** 20} MiB`,
    ]);
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

  async peak(rounds: number): Promise<number> {
    const tasks = Math.max(1, this.pool.threads);
    const operations = PEAK_OPERATIONS_PER_ROUND * rounds;
    const microseconds = (operations * tasks) / FLOPS_PER_MICROSECOND;
    await this.pool.run(
      { phases: [{ kernel: 'peak', tasks }], params: PeakParams({ rounds, factor: 0.5 }), microseconds },
      {},
    );
    return operations * tasks;
  }

  run<Call>(op: Op<Call>, call: Call, control: Control): Promise<void> {
    return this.pool.inTurn(async () => {
      const check = () => this.pool.check(control.signal);
      check();
      const made = op.wasm(call, this.#machine);
      const plan = 'next' in made ? inTurns(made, controlOf(control, 0, 2).onProgress, check) : made;
      await this.#runPlan(await plan, plan instanceof Promise ? controlOf(control, 1, 2) : control);
      checkExpectations(op, call, (x) => this.#numbers(x));
    });
  }

  #runPlan({ bytes = {}, tables = [], jobs }: Plan, control: Control): Promise<void> {
    return this.#tables.during(tables, async (addressOf) => {
      const buffers: HeapBuffer[] = [];
      try {
        const addresses: Record<string, number> = {};
        for (const name of Object.keys(bytes)) {
          const buffer = this.heap.allocate(bytes[name] as number);
          buffers.push(buffer);
          addresses[name] = buffer.address;
        }
        const planned = jobs(addresses, addressOf);
        for (const [index, job] of planned.entries()) {
          await this.pool.execute(job, controlOf(control, index, planned.length));
        }
      } finally {
        for (const buffer of buffers) this.heap.release(buffer);
      }
    });
  }

  /** The elements in row-major order, where they lie if they lie so. */
  #numbers(x: Tensor): ArrayLike<number> {
    const { dtype, shape, strides, size, isContiguous } = x;
    const last = shape.reduce((sum, extent, axis) => sum + (extent - 1) * (strides[axis] as number), 0);
    const values = typedArray(dtype, isContiguous ? size : last + 1, this.heap.memory.buffer, address(x));
    if (isContiguous && (dtype === 'f32' || dtype === 'i32')) return values as Float32Array;
    return toFloat64({ dtype, shape, data: isContiguous ? values : toRowMajor(values, dtype, shape, strides) });
  }

  #bytes(buffer: Buffer, byteOffset: number, length: number): Uint8Array {
    return new Uint8Array(this.heap.memory.buffer, (buffer as HeapBuffer).address + byteOffset, length);
  }
}

/** The kernels as they were built compile wherever they are allowed to. */
async function compile(kernels: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(kernels);
  } catch (error) {
    throw new UnsupportedError(
      `WebAssembly is not allowed here: a content security policy must have 'wasm-unsafe-eval' in its script-src, or use backend 'webgpu' (${(error as Error).message})`,
    );
  }
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
