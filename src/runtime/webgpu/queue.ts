/** Runs plans: dispatches in order, in submissions of bounded length. */

import { rowMajorStrides } from '../../tensor/shape';
import type { Control } from '../backend';
import { convert } from './convert';
import type { Device } from './device';
import { Kept } from './kept';
import { type Dispatch, formOf, numbersBytes, type Region, regionBytes, writeNumbers } from './kernel';
import { GPU_COPY_DST, GPU_MAP_READ, GPU_UNIFORM, type GpuBuffer, type Memory } from './memory';

/** What computes a call. */
export interface Plan {
  readonly dispatches: readonly Dispatch[];
  /** Once these are submitted: what depends on numbers that they wrote. */
  after?(): Promise<void>;
}

/** Numbers of one submission. */
const NUMBERS_BYTES = 2 ** 16;
/** Submissions that may wait for the GPU. */
const IN_FLIGHT = 32;
/** A submission takes about so long: less than what a driver takes for a hang, and short enough to be cancelled. */
const SUBMISSION_MS = 100;
/** Operations of the first submission, before the device's speed is known. */
const FIRST_OPERATIONS = { software: 1e9, hardware: 1e11 };

export class Queue {
  readonly #device: Device;
  readonly #memory: Memory;
  readonly kept: Kept;
  readonly #numbers: GPUBuffer;
  readonly #staged = new ArrayBuffer(NUMBERS_BYTES);
  readonly #view = new DataView(this.#staged);
  #operations: number;
  #submitted = 0;
  #mark: Promise<unknown> = Promise.resolve();
  #last: Promise<unknown> = Promise.resolve();

  constructor(device: Device, memory: Memory) {
    this.#device = device;
    this.#memory = memory;
    this.kept = new Kept(memory);
    this.#numbers = device.gpu.createBuffer({ size: NUMBERS_BYTES, usage: GPU_UNIFORM | GPU_COPY_DST });
    this.#operations = FIRST_OPERATIONS[device.isSoftware ? 'software' : 'hardware'];
  }

  /** Resolves when all is submitted; long work has then been waited for but for its last part. */
  run(plan: (workspace: Workspace) => Plan, control: Control): Promise<void> {
    const work = this.#last.then(() => this.#run(plan, control));
    this.#last = work.catch(() => undefined);
    return work;
  }

  /** Resolves when the GPU has done all that was submitted. */
  async finish(): Promise<void> {
    await this.#last;
    await this.#memory.settle();
    await this.#device.guard(this.#device.gpu.queue.onSubmittedWorkDone());
  }

  write({ handle }: GpuBuffer, bytes: Uint8Array, byteOffset: number): void {
    const whole = bytes.length & ~3;
    const { queue } = this.#device.gpu;
    if (whole > 0) queue.writeBuffer(handle, byteOffset, bytes.buffer as ArrayBuffer, bytes.byteOffset, whole);
    if (whole === bytes.length) return;
    // Buffers end at a multiple of 4, where a shorter tensor has nothing.
    const rest = new Uint8Array(4);
    rest.set(bytes.subarray(whole));
    queue.writeBuffer(handle, byteOffset + whole, rest);
  }

  async read({ handle }: GpuBuffer, byteOffset: number, length: number): Promise<Uint8Array> {
    const { gpu } = this.#device;
    this.#device.check();
    const start = byteOffset & ~3;
    const size = Math.ceil((byteOffset + length - start) / 4) * 4;
    if (length === 0) return new Uint8Array(0);
    const staging = gpu.createBuffer({ size, usage: GPU_MAP_READ | GPU_COPY_DST });
    try {
      const encoder = gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(handle, start, staging, 0, size);
      gpu.queue.submit([encoder.finish()]);
      await this.#memory.settle();
      await this.#device.guard(staging.mapAsync(MAP_MODE_READ));
      return new Uint8Array(staging.getMappedRange(), byteOffset - start, length).slice();
    } finally {
      staging.destroy();
    }
  }

  dispose(): void {
    this.#numbers.destroy();
  }

  async #run(plan: (workspace: Workspace) => Plan, { signal, onProgress }: Control): Promise<void> {
    signal?.throwIfAborted();
    this.#device.check();
    const workspace = new Workspace(this.#device, this, this.#memory);
    try {
      const { dispatches, after } = plan(workspace);
      const steps = await this.#prepare(withConversions(dispatches, workspace));
      await this.#memory.settle();
      signal?.throwIfAborted();
      const total = steps.reduce((sum, { operations }) => sum + operations, 0);
      let done = 0;
      for (const pieces of cut(steps, this.#operations, slotBytes(this.#device.gpu))) {
        if (done > 0) {
          onProgress?.(done / total);
          signal?.throwIfAborted();
        }
        const operations = pieces.reduce((sum, piece) => sum + piece.operations, 0);
        this.#submit(pieces);
        done += operations;
        await this.#wait(done < total, operations);
      }
      await after?.();
      onProgress?.(1);
    } finally {
      workspace.end();
    }
  }

  async #prepare(dispatches: readonly Dispatch[]): Promise<Step[]> {
    const { gpu } = this.#device;
    const steps: Step[] = [];
    for (const dispatch of dispatches) {
      if (dispatch.tasks === 0) continue;
      const form = formOf(dispatch, gpu);
      const found = this.#device.pipeline(dispatch.kernel, form);
      const { pipeline, layout } = found instanceof Promise ? await found : found;
      const group = gpu.createBindGroup({
        layout,
        entries: [
          { binding: 0, resource: { buffer: this.#numbers, size: numbersBytes(dispatch.kernel) } },
          ...form.bindings.map(({ buffer, offset, size }, at) => ({
            binding: at + 1,
            resource: { buffer: buffer.handle, offset, size },
          })),
        ],
      });
      steps.push({ dispatch, pipeline, group, operations: Math.max(1, dispatch.operations) });
    }
    return steps;
  }

  #submit(pieces: readonly Piece[]): void {
    const { gpu } = this.#device;
    const slot = slotBytes(gpu);
    const most = gpu.limits.maxComputeWorkgroupsPerDimension;
    pieces.forEach(({ step, first, end }, at) => {
      writeNumbers(step.dispatch, first, end, this.#view, at * slot);
    });
    gpu.queue.writeBuffer(this.#numbers, 0, this.#staged, 0, pieces.length * slot);
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pieces.forEach(({ step, first, end }, at) => {
      pass.setPipeline(step.pipeline);
      pass.setBindGroup(0, step.group, [at * slot]);
      const rows = Math.ceil((end - first) / most);
      pass.dispatchWorkgroups(Math.ceil((end - first) / rows), rows);
    });
    pass.end();
    gpu.queue.submit([encoder.finish()]);
  }

  /** Keeps the GPU's backlog short, and learns its speed where it waits anyway. */
  async #wait(isMore: boolean, operations: number): Promise<void> {
    const { queue } = this.#device.gpu;
    if (isMore) {
      const start = performance.now();
      await this.#device.guard(queue.onSubmittedWorkDone());
      const speed = operations / Math.max(1, performance.now() - start);
      this.#operations = Math.max(this.#operations / 4, Math.min(this.#operations * 4, speed * SUBMISSION_MS));
      return;
    }
    if (++this.#submitted % IN_FLIGHT !== 0) return;
    const before = this.#mark;
    this.#mark = this.#device.guard(queue.onSubmittedWorkDone());
    this.#mark.catch(() => undefined);
    await before;
  }
}

/** Memory that lives as long as one call. */
export class Workspace {
  readonly #queue: Queue;
  readonly #memory: Memory;
  readonly #taken: GpuBuffer[] = [];
  readonly #owners: object[] = [];

  constructor(
    readonly device: Device,
    queue: Queue,
    memory: Memory,
  ) {
    this.#queue = queue;
    this.#memory = memory;
  }

  /** Undefined numbers. */
  scratch(shape: readonly number[], dtype: 'f32' | 'i32' = 'f32'): Region {
    const region = { dtype, shape, strides: rowMajorStrides(shape), offset: 0 };
    const buffer = this.#memory.allocate(shape.reduce((size, extent) => size * extent, 4));
    this.#taken.push(buffer);
    return { ...region, storage: { buffer } };
  }

  /** A copy of numbers that differ from call to call. */
  upload(data: Int32Array | Float32Array): Region {
    const region = this.scratch([data.length], data instanceof Int32Array ? 'i32' : 'f32');
    this.#queue.write(
      region.storage.buffer as GpuBuffer,
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      0,
    );
    return region;
  }

  /** A copy of numbers that follow from `owner` and `key`, made once for the device and as long as the owner is there. */
  keep(owner: object, key: string, make: () => Int32Array | Float32Array): Region {
    this.#owners.push(owner);
    return this.#queue.kept.get(owner, key, make, (...written) => this.#queue.write(...written));
  }

  /** The elements of a region that dispatches have written; for `Plan.after`. */
  async read(region: Region): Promise<DataView> {
    const bytes = await this.#queue.read(region.storage.buffer as GpuBuffer, region.offset * 4, regionBytes(region));
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  end(): void {
    // Commands that come later run later, so what they write cannot reach this call's.
    for (const buffer of this.#taken) this.#memory.release(buffer);
    this.#owners.length = 0;
  }
}

interface Step {
  readonly dispatch: Dispatch;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly operations: number;
}

/** Some tasks of a step. */
interface Piece {
  readonly step: Step;
  readonly first: number;
  readonly end: number;
  readonly operations: number;
}

const MAP_MODE_READ = 1;

/** Bytes from one dispatch's numbers to the next one's. */
const slotBytes = ({ limits }: GPUDevice) => Math.max(512, limits.minUniformBufferOffsetAlignment);

/** The steps in submissions of at most so many operations, or of one task. */
function* cut(steps: readonly Step[], operations: number, slot: number): Generator<Piece[]> {
  const most = Math.floor(NUMBERS_BYTES / slot);
  let pieces: Piece[] = [];
  let room = operations;
  for (const step of steps) {
    const { tasks } = step.dispatch;
    const each = step.operations / tasks;
    for (let first = 0; first < tasks; ) {
      if (pieces.length === most || (pieces.length > 0 && room < Math.min(each, operations))) {
        yield pieces;
        pieces = [];
        room = operations;
      }
      const count = Math.max(1, Math.min(tasks - first, Math.floor(room / each)));
      pieces.push({ step, first, end: first + count, operations: count * each });
      room -= count * each;
      first += count;
    }
  }
  if (pieces.length > 0) yield pieces;
}

/** Kernels write f32; what they write to other dtypes goes through memory of the call's own and is rounded last. */
function withConversions(dispatches: readonly Dispatch[], workspace: Workspace): Dispatch[] {
  const converted = new Map<Region, Region>();
  const result = dispatches.map((dispatch) => {
    const operands = { ...dispatch.operands };
    for (const [name, region] of Object.entries(operands)) {
      const isHalf = region.dtype === 'f16' || region.dtype === 'bf16';
      const isWritten = dispatch.kernel.operands[name]?.access !== 'read';
      if (isHalf && (isWritten || converted.has(region))) {
        const wide = converted.get(region) ?? workspace.scratch(region.shape);
        converted.set(region, wide);
        operands[name] = wide;
      }
    }
    return { ...dispatch, operands };
  });
  for (const [region, wide] of converted) result.push(convert(wide, region));
  return result;
}
