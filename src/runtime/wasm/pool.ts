/** Runs one job at a time: on worker threads, or on the calling thread if there are none or the job is small. */
import { BackendError, DisposedError } from '../../errors';
import { openThread, type Thread } from '../../workers/open';
import type { Control } from '../backend';
import type { Job, Phase } from '../cpu/plan';
import type { NativeThread } from '../native/calls';
import { othersTurn, type Pause, TURN_MILLISECONDS, until } from '../order';
import {
  ABORT,
  CONTROL,
  CONTROL_LENGTH,
  callWorkers,
  kernelOf,
  MAX_PARAMS,
  type Module,
  mainPhase,
  PARAMS,
  Patience,
  progress,
  publish,
  waitForWorkers,
  workAsCaller,
  workersHaveLeft,
} from './schedule';
import type { WorkerStart } from './worker';
import { source } from './worker.generated';

/** Below this a job is not worth waking workers for. */
const SMALL_JOB_MICROSECONDS = 400;
/** Below this it is not worth sharing with workers that are awake. */
const TINY_JOB_MICROSECONDS = 60;
/** For how long after a job workers are likely to be awake. */
const AWAKE_MILLISECONDS = 0.3;
/** Below this per thread, the calling thread works with the others. */
const SHORT_JOB_MICROSECONDS = 4000;
/** The same for a calling thread that waits for room and has nothing else to do. */
const WAITED_JOB_MICROSECONDS = 100_000;
/** How long the calling thread waits for workers that make no progress: this, plus so many times what a task should take. */
const PATIENCE = { milliseconds: 250, tasks: 4 };
const PROGRESS_MILLISECONDS = 50;
const START_MILLISECONDS = 10_000;

type PoolThread = Thread<WorkerStart, string>;

interface Pending {
  resolve(): void;
  reject(reason: unknown): void;
}

/** How many worker threads this platform offers, and why. */
export function availableThreads(): { readonly threads: number; readonly reason: string } {
  const builtin = globalThis.process?.getBuiltinModule;
  if (builtin?.('node:worker_threads')) {
    return { threads: builtin('node:os').availableParallelism(), reason: 'one per core, on worker_threads' };
  }
  if (typeof Worker === 'undefined') return { threads: 0, reason: 'this platform has no workers' };
  if (!globalThis.crossOriginIsolated) {
    return {
      threads: 0,
      reason:
        'this page is not cross-origin isolated: serve it with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp',
    };
  }
  return { threads: navigator.hardwareConcurrency, reason: 'one per core, on Web Workers' };
}

export class Pool {
  readonly #control: Int32Array;
  readonly #params: Float64Array;
  #running: PoolThread[] | undefined;
  #pending: Pending | undefined;
  /** Resolves when stopped threads have ended: a late one would take tasks of the next job. */
  #ended: Promise<unknown> = Promise.resolve();
  #lastEnded = 0;
  #disposed = false;
  /** Whether the calling thread waits for room, and may as well work. */
  #callerWaits = false;

  /** With 0 workers everything runs on the calling thread. */
  constructor(
    readonly threads: number,
    private readonly memory: WebAssembly.Memory,
    private readonly native?: NativeThread | undefined,
  ) {
    this.#control = new Int32Array(memory.buffer, CONTROL, CONTROL_LENGTH);
    this.#params = new Float64Array(memory.buffer, PARAMS, MAX_PARAMS);
  }

  /** Starts the workers ahead of the first job. @throws {BackendError} if they do not start */
  async start(): Promise<void> {
    if (this.threads > 0) this.#running ??= await this.#startThreads();
  }

  /** Ends the threads; the current job fails. */
  dispose(): void {
    this.#disposed = true;
    this.#stop(disposedWhilePending());
  }

  /** Throws if the call is cancelled or the pool disposed. */
  check(signal: Control['signal']): void {
    if (this.#disposed) throw disposedWhilePending();
    signal?.throwIfAborted();
  }

  *run(module: Module, job: Job, control: Control): Generator<Pause, void, void> {
    this.check(control.signal);
    const isTiny = job.microseconds < TINY_JOB_MICROSECONDS;
    const isSmall = isTiny || (job.microseconds < SMALL_JOB_MICROSECONDS && !this.#areAwake());
    if (this.threads > 0 && !isSmall) this.#running ??= yield* until(this.#startThreads());
    this.#params.set(job.params);
    if (isSmall) runHere(module, job.phases);
    else if (this.threads === 0) yield* this.#runInTurns(module, job, control);
    else {
      publish(this.#control, module, job.phases);
      const patience = new Patience(this.#control, PATIENCE.milliseconds + PATIENCE.tasks * millisecondsOfTask(job));
      const most = this.#callerWaits ? WAITED_JOB_MICROSECONDS : SHORT_JOB_MICROSECONDS;
      if (job.microseconds < most * this.threads) yield* this.#runTogether(module, patience);
      else yield* this.#runOnThreads(module, control, patience);
    }
    if (this.threads > 0 && !isTiny) this.#lastEnded = performance.now();
    control.signal?.throwIfAborted();
    control.onProgress?.(1);
  }

  /** Workers that have just finished a job are still awake. */
  #areAwake(): boolean {
    return performance.now() - this.#lastEnded < AWAKE_MILLISECONDS;
  }

  *#runInTurns(module: Module, { phases }: Job, { signal, onProgress }: Control): Generator<Pause, void, void> {
    let turnEnds = performance.now() + TURN_MILLISECONDS;
    const main = mainPhase(phases);
    for (const [phase, each] of phases.entries()) {
      const run = kernelOf(module, each);
      for (let task = 0; task < each.tasks; task++) {
        run(PARAMS, task, module.scratch);
        if (performance.now() < turnEnds) continue;
        onProgress?.(phase === main ? (task + 1) / each.tasks : Number(phase > main));
        yield othersTurn();
        this.check(signal);
        turnEnds = performance.now() + TURN_MILLISECONDS;
      }
    }
  }

  *#runOnThreads(module: Module, { signal, onProgress }: Control, patience: Patience): Generator<Pause, void, void> {
    const abort = () => Atomics.store(this.#control, ABORT, 1);
    const timer = onProgress && setInterval(() => onProgress(progress(this.#control)), PROGRESS_MILLISECONDS);
    signal?.addEventListener('abort', abort);
    try {
      yield* this.#untilDone(module, patience, () => callWorkers(this.#control, false));
    } finally {
      signal?.removeEventListener('abort', abort);
      clearInterval(timer);
    }
  }

  /** With the calling thread in the first worker's place, which saves waking that and a message at the end. */
  *#runTogether(module: Module, patience: Patience): Generator<Pause, void, void> {
    callWorkers(this.#control, true);
    let failure: unknown;
    try {
      if (workAsCaller(module, this.#control, patience)) return;
    } catch (error) {
      failure = error;
    }
    // If a worker failed or ended, its event is still to come.
    yield* this.#untilDone(module, patience, () => failure && this.#failHere(failure));
  }

  /** Waits until the job that `begin` begins is done or a thread fails; meanwhile threads keep the process alive. */
  *#untilDone(module: Module, patience: Patience, begin: () => void): Generator<Pause, void, void> {
    for (const thread of this.#running ?? []) thread.hold(true);
    try {
      const promise = new Promise<void>((resolve, reject) => {
        this.#pending = { resolve, reject };
        begin();
      });
      yield { promise, block: () => this.#block(module, patience) };
    } finally {
      this.#pending = undefined;
      for (const thread of this.#running ?? []) thread.hold(false);
    }
  }

  #block(module: Module, patience: Patience): boolean {
    // The control block that stopped threads left behind says nothing.
    if (!this.#running || !patience.lasts()) return false;
    this.#callerWaits = true;
    queueMicrotask(() => {
      this.#callerWaits = false;
    });
    try {
      return waitForWorkers(module, this.#control, patience);
    } catch (error) {
      this.#failHere(error);
      return false;
    }
  }

  #failHere(error: unknown): void {
    this.#stop(new BackendError(`the calling thread failed: ${error}; the next call starts new threads`));
  }

  async #startThreads(): Promise<PoolThread[]> {
    await this.#ended;
    const threads: PoolThread[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      while (threads.length < this.threads) threads.push(openThread<WorkerStart, string>(source));
      const started = threads.map((thread, index) => this.#startThread(thread, index));
      // Also for those that are ready already.
      const failed = new Promise((_, reject) => {
        for (const thread of threads) thread.onDeath = reject;
        timer = setTimeout(reject, START_MILLISECONDS, 'they did not answer');
      });
      await Promise.race([Promise.all(started), failed]);
    } catch (reason) {
      await Promise.all(threads.map((thread) => thread.terminate()));
      throw new BackendError(`worker threads could not be started: ${reason}`);
    } finally {
      clearTimeout(timer);
    }
    if (this.#disposed) {
      await Promise.all(threads.map((thread) => thread.terminate()));
      throw disposedWhilePending();
    }
    for (const thread of threads) {
      thread.hold(false);
      thread.onMessage = () => {
        // Otherwise the calling thread has already waited for that job, and the next one runs.
        if (workersHaveLeft(this.#control)) this.#pending?.resolve();
      };
      thread.onDeath = (reason) =>
        this.#stop(new BackendError(`a worker thread died: ${reason}; the next call starts new ones`));
    }
    return threads;
  }

  #startThread(thread: PoolThread, index: number): Promise<void> {
    return new Promise((resolve) => {
      thread.onMessage = () => resolve();
      thread.send({ memory: this.memory, index, native: this.native });
    });
  }

  /** Ends all threads, and then rejects the pending job: only then nobody writes to its memory. */
  #stop(error: Error): void {
    const threads = this.#running ?? [];
    this.#running = undefined;
    Atomics.store(this.#control, ABORT, 1);
    // What they report now is not the end of a job.
    for (const thread of threads) thread.onMessage = thread.onDeath = () => {};
    const pending = this.#pending;
    const ends = threads.map((thread) => thread.terminate());
    this.#ended = Promise.all([this.#ended, ...ends]).then(() => pending?.reject(error));
  }
}

/** About how long a task takes, if most of the job's time goes to its main phase. */
function millisecondsOfTask({ phases, microseconds }: Job): number {
  return microseconds / 1000 / Math.max(1, phases[mainPhase(phases)]?.tasks ?? 1);
}

function runHere(module: Module, phases: readonly Phase[]): void {
  for (const phase of phases) {
    const run = kernelOf(module, phase);
    for (let task = 0; task < phase.tasks; task++) run(PARAMS, task, module.scratch);
  }
}

const disposedWhilePending = () => new DisposedError('the runtime was disposed while a call was pending');
