/** Runs plans: dispatches in order, in submissions of limited duration. */
import { BackendError } from '../../errors';
import { rowMajorStrides } from '../../tensor/shape';
import type { Control } from '../backend';
import { controlOf } from '../guard';
import type { Expectation } from '../op';
import { type Pause, until } from '../order';
import { inTurns, type Steps } from '../turns';
import { GPU_COPY_DST, GPU_MAP_READ, GPU_UNIFORM, type GpuBuffer } from './buffer';
import { convert } from './convert';
import type { Device, Pipeline } from './device';
import { checkLook, type Look, lookAt } from './expectations';
import { Kept } from './kept';
import { type Dispatch, type Region, regionBytes } from './kernel';
import type { Memory } from './memory';
import type { Plan, Workspace } from './plan';
import { type Form, formOf, numbersBytes, writeNumbers } from './shader';

/** Bytes for the numbers of one submission. */
const NUMBERS_BYTES = 2 ** 16;
/** Short submissions after which the GPU is waited for. */
const IN_FLIGHT = 32;
/** Target for a submission: shorter than what drivers take for a hang, and short enough to be cancelled. */
const SUBMISSION_MS = 100;
/** Operations of the first submissions, before the device's speed is known. */
const FIRST_OPERATIONS = { software: 1e9, hardware: 2e10 };

export class Queue {
  readonly #device: Device;
  readonly #memory: Memory;
  readonly kept: Kept;
  readonly #numbers: GPUBuffer;
  readonly #staged = new ArrayBuffer(NUMBERS_BYTES);
  readonly #view = new DataView(this.#staged);
  /** Most operations of a submission. */
  #operations: number;
  /** What was submitted since the last mark. */
  #unmarked = { submissions: 0, operations: 0, usual: 0 };
  /** Resolves when the GPU has finished what was submitted before the last mark. */
  #mark: Promise<void> = Promise.resolve();
  #markedAt = 0;

  constructor(device: Device, memory: Memory) {
    this.#device = device;
    this.#memory = memory;
    this.kept = new Kept(memory);
    this.#numbers = device.gpu.createBuffer({ size: NUMBERS_BYTES, usage: GPU_UNIFORM | GPU_COPY_DST });
    this.#operations = FIRST_OPERATIONS[device.isSoftware ? 'software' : 'hardware'];
  }

  /**
   * Over when everything has been submitted: of long work, only the last parts are still running. With expectations it returns a
   * promise that resolves when the device has checked them, and rejects with the error of one that is not met.
   */
  *run(
    plan: (workspace: Workspace) => Plan | Steps<Plan>,
    control: Control,
    expectations: readonly Expectation[] = [],
  ): Generator<Pause, Promise<void> | undefined, void> {
    const { signal } = control;
    const check = () => {
      signal?.throwIfAborted();
      this.#device.check();
    };
    check();
    const workspace = new CallWorkspace(this.#device, this, this.#memory);
    try {
      const made = plan(workspace);
      const isSteps = 'next' in made;
      const { dispatches } = isSteps ? yield* inTurns(made, controlOf(control, 0, 2).onProgress, check) : made;
      const { onProgress } = isSteps ? controlOf(control, 1, 2) : control;
      const looks = expectations.map((expectation) => lookAt(expectation, workspace));
      const all = [...dispatches, ...looks.map(({ dispatch }) => dispatch)];
      const steps = yield* this.#prepare(withConversions(all, workspace), signal);
      const total = steps.reduce((sum, { usual }) => sum + usual, 0);
      let done = 0;
      for (const pieces of cut(steps, () => this.#operations, NUMBERS_BYTES)) {
        if (done > 0) onProgress?.(done / total);
        check();
        this.#device.command(() => this.#submit(pieces));
        const usual = pieces.reduce(
          (sum, { step, first, end }) => sum + (step.usual * (end - first)) / step.dispatch.tasks,
          0,
        );
        done += usual;
        const operations = pieces.reduce((sum, piece) => sum + piece.operations, 0);
        const pause = this.#pace(operations, usual);
        if (pause) yield { promise: unlessAborted(pause, signal) };
      }
      onProgress?.(1);
      return looks.length > 0 ? this.#answer(looks) : undefined;
    } finally {
      workspace.end();
    }
  }

  /** Resolves when the GPU has finished everything submitted. */
  async finish(): Promise<void> {
    await this.#device.guard(this.#device.gpu.queue.onSubmittedWorkDone());
  }

  write(buffer: GpuBuffer, bytes: Uint8Array, byteOffset: number): void {
    const whole = bytes.length & ~3;
    const { queue } = this.#device.gpu;
    const work = () => {
      if (whole > 0) queue.writeBuffer(buffer.handle, byteOffset, bytes.buffer as ArrayBuffer, bytes.byteOffset, whole);
      if (whole === bytes.length) return;
      // Buffers have a multiple of 4 bytes: nothing else is in the rest.
      const rest = new Uint8Array(4);
      rest.set(bytes.subarray(whole));
      queue.writeBuffer(buffer.handle, byteOffset + whole, rest);
    };
    // If the buffer turns out not to exist, `confirm` reports it.
    if (buffer.isGood) this.#device.command(work);
    else this.#device.capture('validation', work);
  }

  async read(buffer: GpuBuffer, byteOffset: number, length: number): Promise<Uint8Array> {
    const device = this.#device;
    const { gpu } = device;
    device.check();
    if (length === 0) return new Uint8Array(0);
    const start = byteOffset & ~3;
    const size = Math.ceil((byteOffset + length - start) / 4) * 4;
    const { result: staging, error: full } = device.capture('out-of-memory', () =>
      gpu.createBuffer({ size, usage: GPU_MAP_READ | GPU_COPY_DST }),
    );
    try {
      const { result: mapped, error: refused } = device.capture('validation', () => {
        const encoder = gpu.createCommandEncoder();
        encoder.copyBufferToBuffer(buffer.handle, start, staging, 0, size);
        gpu.queue.submit([encoder.finish()]);
        return device.guard(staging.mapAsync(MAP_MODE_READ));
      });
      mapped.catch(() => undefined);
      if (!buffer.isGood) await buffer.confirm();
      if (await full) throw new BackendError(`the GPU has no room to read ${length} bytes: dispose tensors`);
      const reason = (await refused)?.message.trim();
      if (reason) throw new BackendError(`the GPU refused to read: ${reason}`);
      await mapped;
      return new Uint8Array(staging.getMappedRange(), byteOffset - start, length).slice();
    } finally {
      staging.destroy();
    }
  }

  dispose(): void {
    this.#numbers.destroy();
  }

  /** Throws the error of the first expectation that is not met. */
  async #answer(looks: readonly Look[]): Promise<void> {
    const reading = looks.map(async ({ places, values }) => {
      const [found, of] = await Promise.all([this.#readRegion(places), this.#readRegion(values)]);
      return [new Int32Array(found), new Float32Array(of)] as const;
    });
    for (const [at, [places, values]] of (await Promise.all(reading)).entries())
      checkLook(looks[at] as Look, places, values);
  }

  async #readRegion(region: Region): Promise<ArrayBuffer> {
    const bytes = await this.read(region.storage.buffer as GpuBuffer, region.offset * 4, regionBytes(region));
    return bytes.buffer as ArrayBuffer;
  }

  *#prepare(dispatches: readonly Dispatch[], signal: AbortSignal | undefined): Generator<Pause, Step[], void> {
    const { gpu } = this.#device;
    const found = dispatches
      .filter(({ tasks }) => tasks > 0)
      .map((dispatch) => {
        const form = formOf(dispatch, gpu);
        return { dispatch, form, pipeline: this.#device.pipeline(dispatch.kernel, form) };
      });
    const pipelines = found.map(({ pipeline }) => pipeline);
    const ready = pipelines.every(isReady) ? pipelines : yield* until(unlessAborted(Promise.all(pipelines), signal));
    for (const { form } of found) {
      for (const { buffer } of form.bindings) if (!buffer.isGood) yield { promise: buffer.confirm() };
    }
    return found.map(({ dispatch, form }, at): Step => {
      const { pipeline, layout } = ready[at] as Pipeline;
      const numbers = numbersBytes(dispatch.kernel);
      const group = this.#device.command(() =>
        gpu.createBindGroup({
          layout,
          entries: [
            { binding: 0, resource: { buffer: this.#numbers, size: numbers } },
            ...form.bindings.map(({ buffer, offset, size }, at) => ({
              binding: at + 1,
              resource: { buffer: buffer.handle, offset, size },
            })),
          ],
        }),
      );
      const { minUniformBufferOffsetAlignment: alignment } = gpu.limits;
      const operations = Math.max(1, dispatch.operations);
      return {
        dispatch,
        form,
        pipeline,
        group,
        operations,
        usual: dispatch.usual ?? operations,
        numbersBytes: Math.ceil(numbers / alignment) * alignment,
      };
    });
  }

  #submit(pieces: readonly Piece<Step>[]): void {
    const { gpu } = this.#device;
    const most = gpu.limits.maxComputeWorkgroupsPerDimension;
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    let at = 0;
    for (const { step, first, end } of pieces) {
      writeNumbers(step.dispatch, step.form, first, end, this.#view, at);
      pass.setPipeline(step.pipeline);
      pass.setBindGroup(0, step.group, [at]);
      const rows = Math.ceil((end - first) / most);
      pass.dispatchWorkgroups(Math.ceil((end - first) / rows), rows);
      at += step.numbersBytes;
    }
    pass.end();
    gpu.queue.writeBuffer(this.#numbers, 0, this.#staged, 0, at);
    gpu.queue.submit([encoder.finish()]);
  }

  /** Limits the GPU's backlog to about two full submissions, and measures its speed. */
  #pace(operations: number, usual: number): Promise<void> | undefined {
    const unmarked = this.#unmarked;
    unmarked.operations += operations;
    unmarked.usual += usual;
    unmarked.submissions++;
    if (unmarked.operations < this.#operations && unmarked.submissions < IN_FLIGHT) return undefined;
    const before = this.#mark;
    this.#mark = this.#done(unmarked.usual, performance.now());
    this.#mark.catch(() => undefined);
    this.#unmarked = { submissions: 0, operations: 0, usual: 0 };
    return before;
  }

  async #done(operations: number, submittedAt: number): Promise<void> {
    await this.#device.guard(this.#device.gpu.queue.onSubmittedWorkDone());
    const now = performance.now();
    const began = Math.max(submittedAt, this.#markedAt);
    this.#markedAt = now;
    // Most of the time of many short submissions is not the GPU's.
    if (operations < this.#operations / 2) return;
    const speed = operations / Math.max(1, now - began);
    this.#operations = Math.max(this.#operations / 4, Math.min(this.#operations * 4, speed * SUBMISSION_MS));
  }
}

class CallWorkspace implements Workspace {
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

  scratch(shape: readonly number[], dtype: 'f32' | 'i32' = 'f32'): Region {
    const region = { dtype, shape, strides: rowMajorStrides(shape), offset: 0 };
    const buffer = this.#memory.allocate(shape.reduce((size, extent) => size * extent, 4));
    this.#taken.push(buffer);
    return { ...region, storage: { buffer } };
  }

  upload(data: Int32Array | Float32Array): Region {
    const region = this.scratch([data.length], data instanceof Int32Array ? 'i32' : 'f32');
    this.write(region, data);
    return region;
  }

  write({ storage, offset }: Region, data: Int32Array | Float32Array): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#queue.write(storage.buffer as GpuBuffer, bytes, offset * 4);
  }

  keep(owner: object, key: string, make: () => Int32Array | Float32Array): Region {
    this.#owners.push(owner);
    return this.#queue.kept.get(owner, key, make, (...written) => this.#queue.write(...written));
  }

  end(): void {
    // Later commands run later, so they can reuse the memory.
    for (const buffer of this.#taken) this.#memory.release(buffer);
    this.#owners.length = 0;
  }
}

interface Step {
  readonly dispatch: Dispatch;
  readonly form: Form;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly operations: number;
  readonly usual: number;
  /** Bytes from the numbers of one piece to those of the next. */
  readonly numbersBytes: number;
}

/** Some tasks of a step. */
interface Piece<S> {
  readonly step: S;
  readonly first: number;
  readonly end: number;
  readonly operations: number;
}

const MAP_MODE_READ = 1;

const isReady = (pipeline: Pipeline | Promise<Pipeline>) => !(pipeline instanceof Promise);

/** The same promise, rejected early if the signal aborts. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise<T>((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

/** Cuts steps into submissions of at most `operations()`, or of one task, and of at most `numbersBytes`. */
export function* cut<S extends Pick<Step, 'operations' | 'numbersBytes'> & { dispatch: { tasks: number } }>(
  steps: readonly S[],
  operations: () => number,
  numbersBytes: number,
): Generator<Piece<S>[]> {
  let pieces: Piece<S>[] = [];
  let room = operations();
  let bytes = numbersBytes;
  for (const step of steps) {
    const { tasks } = step.dispatch;
    const each = step.operations / tasks;
    for (let first = 0; first < tasks; ) {
      if (pieces.length > 0 && (bytes < step.numbersBytes || room < each)) {
        yield pieces;
        pieces = [];
        room = operations();
        bytes = numbersBytes;
      }
      const count = Math.max(1, Math.min(tasks - first, Math.floor(room / each)));
      pieces.push({ step, first, end: first + count, operations: count * each });
      room -= count * each;
      bytes -= step.numbersBytes;
      first += count;
    }
  }
  if (pieces.length > 0) yield pieces;
}

/** Kernels write f32: results in f16 and bf16 go through scratch memory and are rounded at the end. */
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
