/**
 * The current job, as all threads see it in shared memory. A job is a few phases; a phase runs one kernel for the tasks 0, 1,
 * 2, ... that threads take from a counter, and ends for all threads before the next begins.
 */
import type { Phase } from '../cpu/plan';
import type { Kernel } from '../native/calls';

/** What modules of a thread share: its first function is the operations of programs, once a program has run. */
export const openTable = () => new WebAssembly.Table({ element: 'anyfunc', initial: 1 });

/** One thread's instance of a module, and the address of its working memory. */
export interface Share {
  readonly kernels: readonly Kernel[];
  readonly scratch: number;
  /** Machine code as a kernel. */
  readonly codeAt: (address: number) => Kernel;
}

/** Where other threads find a module's bytes in the heap, and their working memory after the calling thread's. */
interface Shared {
  readonly address: number;
  readonly length: number;
  readonly scratch: number;
  readonly scratchBytes: number;
}

/** A module in the calling thread, and what workers need for theirs. */
export interface Module extends Share, Shared {
  /** The names of the kernels, in the same order. */
  readonly names: readonly string[];
  /** Where the operations of programs lie, once it has run one. */
  operations: Pick<Shared, 'address' | 'length'> | undefined;
}

/** What a module exports; every instance writes the same constants into the memory. */
export function instantiate(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  table: WebAssembly.Table,
  codeAt: Share['codeAt'],
): Pick<Module, 'names' | 'kernels' | 'scratchBytes'> {
  /** Machine code as a part of a kernel. */
  const native = (address: number, params: number, scratch: number) => codeAt(address)(params >>> 0, 0, scratch >>> 0);
  const { exports } = new WebAssembly.Instance(module, { env: { memory, table, native } });
  const { SCRATCH_BYTES, operate, ...kernels } = exports;
  if (operate) table.set(0, operate);
  return {
    names: Object.keys(kernels),
    kernels: Object.values(kernels) as unknown as Kernel[],
    scratchBytes: (SCRATCH_BYTES as WebAssembly.Global | undefined)?.value ?? 0,
  };
}

/** Byte addresses in the lowest page; the kernels' constants are between them (vector.as.ts). */
export const CONTROL = 64;
export const PARAMS = 3072;
export const HEAP_BASE = 8192;

/** How many float64 params a job may have. */
export const MAX_PARAMS = (HEAP_BASE - PARAMS) / 8;

/** Places in the control block, which is int32. */
export const ABORT = 0;
/** Counts the jobs that workers are woken for; the first worker has its own count, since the calling thread may replace it. */
export const EPOCH = 1;
export const EPOCH_OF_FIRST = 2;
/** How many threads work at the job, plus `CLOSED` once it is over: threads that wake late find nothing to do. */
const GATE = 3;
const PHASES = 4;
/** The phase that progress is measured by. */
const MAIN = 5;
/** The job's module: the four numbers of a `Shared`, and the first two of one with the operations of programs. */
const MODULE = 6;
const FIRST_PHASE = 12;
const KERNEL = 0;
const TASKS = 1;
const NEXT = 2;
const DONE = 3;
/** The address of machine code in two halves, 0 for the module's kernel. */
const CODE = 4;
const PHASE_SIZE = 6;
const MAX_PHASES = 4;

const CLOSED = 2 ** 16;
const HALF = 2 ** 32;

export const CONTROL_LENGTH = FIRST_PHASE + MAX_PHASES * PHASE_SIZE;

/** The phase that a job's progress is measured by. */
export function mainPhase(phases: readonly Phase[]): number {
  const found = phases.findIndex(({ main }) => main);
  return found === -1 ? phases.length - 1 : found;
}

/** Writes the next job, while no thread works at one. */
export function publish(control: Int32Array, module: Module, phases: readonly Phase[]): void {
  control[ABORT] = 0;
  control[PHASES] = phases.length;
  control[MAIN] = mainPhase(phases);
  const { address, length, scratch, scratchBytes, operations } = module;
  control.set([address, length, scratch, scratchBytes, operations?.address ?? 0, operations?.length ?? 0], MODULE);
  phases.forEach(({ kernel, tasks, code = 0 }, index) => {
    const halves = [code % HALF, code / HALF];
    control.set([numberOf(module, kernel), tasks, 0, 0, ...halves], FIRST_PHASE + index * PHASE_SIZE);
  });
}

export function publishedModule(control: Int32Array): Shared & Pick<Module, 'operations'> {
  const numbers = new Uint32Array(control.buffer, control.byteOffset).subarray(MODULE, FIRST_PHASE);
  const [address, length, scratch, scratchBytes, first = 0, count = 0] = numbers;
  const operations = first ? { address: first, length: count } : undefined;
  return { address, length, scratch, scratchBytes, operations } as ReturnType<typeof publishedModule>;
}

/** What runs a phase's tasks in the calling thread. */
export const kernelOf = (module: Module, { kernel, code }: Phase): Kernel =>
  code ? module.codeAt(code) : (module.kernels[numberOf(module, kernel)] as Kernel);

/** The number of a kernel in its module. */
export function numberOf({ names }: Module, kernel: string): number {
  const number = names.indexOf(kernel);
  if (number === -1) throw new Error(`the room has the kernels ${names.join(', ')}, got ${kernel}`);
  return number;
}

/** Wakes the workers for the published job: all, or all but the first, which the calling thread replaces. */
export function callWorkers(control: Int32Array, callerWorks: boolean): void {
  Atomics.store(control, GATE, Number(callerWorks));
  for (const epoch of callerWorks ? [EPOCH] : [EPOCH, EPOCH_OF_FIRST]) {
    Atomics.add(control, epoch, 1);
    Atomics.notify(control, epoch);
  }
}

/**
 * How long the calling thread waits for others. It would learn of a dead thread from an event, and gets none while it waits,
 * so it waits only as long as the others make progress.
 */
export class Patience {
  readonly #control: Int32Array;
  readonly #milliseconds: number;
  #taken = -1;
  #ends = 0;

  /** For the published job, in which some task should be taken every so many milliseconds. */
  constructor(control: Int32Array, milliseconds: number) {
    this.#control = control;
    this.#milliseconds = milliseconds;
  }

  /** False while no task has been taken for too long. */
  lasts(): boolean {
    const now = performance.now();
    const taken = tasksTaken(this.#control);
    if (taken !== this.#taken) {
      this.#taken = taken;
      this.#ends = now + this.#milliseconds;
    }
    return now < this.#ends;
  }
}

/** Works at the published job; true if this thread is the last to leave. */
export function workAsWorker(share: () => Share, control: Int32Array, patience?: Patience): boolean {
  let inside: number;
  do {
    inside = Atomics.load(control, GATE);
    if (inside >= CLOSED) return false;
  } while (Atomics.compareExchange(control, GATE, inside, inside + 1) !== inside);
  return leave(control, work(share, control, patience));
}

/**
 * Works at the published job until the workers have left too: true. False if the job was aborted or patience ran out: then the
 * last to leave posts a message, or an event comes.
 */
export function workAsCaller(share: Share, control: Int32Array, patience: Patience): boolean {
  const isOver = work(() => share, control, patience);
  if (isOver) Atomics.or(control, GATE, CLOSED);
  const isLast = (isOver && reaches(control, GATE, CLOSED + 1, patience)) || leave(control, isOver);
  return isLast && Atomics.load(control, ABORT) === 0;
}

/** Whether all workers have left the job. */
export const workersHaveLeft = (control: Int32Array): boolean => Atomics.load(control, GATE) === CLOSED;

/**
 * Waits until all workers have left the published job: true. False if it was aborted or patience ran out. A thread that may not
 * sleep would take up a core, so it works too.
 */
export function waitForWorkers(share: Share, control: Int32Array, patience: Patience): boolean {
  return (!MAY_SLEEP && workAsWorker(() => share, control, patience)) || reaches(control, GATE, CLOSED, patience);
}

/** A thread that knows that the job is over closes it as it leaves; true if it is the last. */
function leave(control: Int32Array, isOver: boolean): boolean {
  if (isOver) Atomics.or(control, GATE, CLOSED);
  const left = Atomics.sub(control, GATE, 1) - 1;
  Atomics.notify(control, GATE);
  return left === CLOSED;
}

/**
 * Takes tasks of the published job until all phases are over or it was aborted: true. False if patience ran out. If a kernel
 * fails, it aborts the job and never leaves it.
 */
function work(share: () => Share, control: Int32Array, patience: Patience | undefined): boolean {
  try {
    return takeTasks(share(), control, patience);
  } catch (error) {
    Atomics.store(control, ABORT, 1);
    throw error;
  }
}

function takeTasks({ kernels, scratch, codeAt }: Share, control: Int32Array, patience: Patience | undefined): boolean {
  const past = pastPhases(control);
  for (let at = FIRST_PHASE; at < past; at += PHASE_SIZE) {
    const code = ((control[at + CODE] as number) >>> 0) + (control[at + CODE + 1] as number) * HALF;
    const kernel = code ? codeAt(code) : (kernels[control[at + KERNEL] as number] as Kernel);
    const tasks = control[at + TASKS] as number;
    for (;;) {
      const task = Atomics.add(control, at + NEXT, 1);
      if (task >= tasks) break;
      if (Atomics.load(control, ABORT)) return true;
      kernel(PARAMS, task, scratch);
      if (Atomics.add(control, at + DONE, 1) + 1 === tasks) Atomics.notify(control, at + DONE);
    }
    if (!reaches(control, at + DONE, tasks, patience)) return Atomics.load(control, ABORT) !== 0;
  }
  return true;
}

const pastPhases = (control: Int32Array): number => FIRST_PHASE + (control[PHASES] as number) * PHASE_SIZE;

/** Rises while threads make progress. */
function tasksTaken(control: Int32Array): number {
  let taken = 0;
  for (let at = FIRST_PHASE; at < pastPhases(control); at += PHASE_SIZE) taken += Atomics.load(control, at + NEXT);
  return taken;
}

/** Waits until a counter is `value`: true. False if the job is aborted or patience runs out. */
function reaches(control: Int32Array, at: number, value: number, patience: Patience | undefined): boolean {
  spin(control, at, value);
  for (;;) {
    const now = Atomics.load(control, at);
    if (now === value) return true;
    if (Atomics.load(control, ABORT) || patience?.lasts() === false) return false;
    // With a time limit, since an abort does not notify.
    if (MAY_SLEEP) Atomics.wait(control, at, now, 20);
  }
}

/** A page's main thread may not. */
const MAY_SLEEP = maySleep();

function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1);
    return true;
  } catch {
    return false;
  }
}

/** The share of the main phase's tasks that are done. */
export function progress(control: Int32Array): number {
  const at = FIRST_PHASE + (control[MAIN] as number) * PHASE_SIZE;
  return Atomics.load(control, at + DONE) / (control[at + TASKS] as number);
}

/** Loads of a number before a thread sleeps: some tens of microseconds, about what waking it costs. */
const SPINS = 20_000;

/** Waits a moment, awake, for a number to become `value`. */
export function spin(control: Int32Array, at: number, value: number): void {
  for (let i = 0; i < SPINS && Atomics.load(control, at) !== value; i++);
}
