/** Asks a worker, which starts with the first question. */
import type { Answer } from './answer';
import type { Tasks } from './worker';

type Input<Name extends keyof Tasks> = Parameters<Tasks[Name]>[0];
type Result<Name extends keyof Tasks> = Awaited<ReturnType<Tasks[Name]>>;

export interface AskOptions {
  readonly signal?: AbortSignal;
  /** Is given what has been found so far. */
  onProgress?(found: unknown): void;
}

/** The error of a cancelled question. */
export class Cancelled extends Error {
  override message = 'cancelled';
}

/** Milliseconds in which a worker should notice a cancellation. */
const PATIENCE = 1000;

interface Waiting {
  readonly question: object;
  resolve(result: unknown): void;
  reject(reason: Error): void;
  onProgress: AskOptions['onProgress'];
}

export class Helper {
  #worker: Worker | undefined;
  readonly #waiting = new Map<number, Waiting>();
  /** Cancelled questions that the worker has not confirmed. */
  readonly #unheard = new Set<number>();
  #next = 0;

  ask<Name extends keyof Tasks>(
    task: Name,
    input: Input<Name>,
    { signal, onProgress }: AskOptions = {},
  ): Promise<Result<Name>> {
    if (signal?.aborted) return Promise.reject(new Cancelled());
    const id = this.#next++;
    const question = { id, task, input };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { question, resolve: resolve as Waiting['resolve'], reject, onProgress });
      this.#start().postMessage(question);
      signal?.addEventListener('abort', () => this.#cancel(id), { once: true });
    });
  }

  /** A worker in a long loop does not notice: it is ended, and another one gets its open questions. */
  #cancel(id: number): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    this.#unheard.add(id);
    waiting.reject(new Cancelled());
    this.#worker?.postMessage({ id, cancel: true });
    setTimeout(() => {
      if (!this.#unheard.has(id)) return;
      this.#end();
      for (const { question } of this.#waiting.values()) this.#start().postMessage(question);
    }, PATIENCE);
  }

  #end(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#unheard.clear();
  }

  #start(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
    worker.addEventListener('message', ({ data }: MessageEvent<Answer>) => {
      const waiting = this.#waiting.get(data.id);
      if ('progress' in data) return waiting?.onProgress?.(data.progress);
      this.#waiting.delete(data.id);
      this.#unheard.delete(data.id);
      if ('error' in data) waiting?.reject(new Error(data.error));
      else waiting?.resolve(data.done);
    });
    // A worker that cannot start, or is gone, fails all open questions; the next question starts another one.
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      const reason = event.message || 'its script could not be loaded';
      for (const { reject } of this.#waiting.values()) reject(new Error(`the page's worker stopped: ${reason}`));
      this.#waiting.clear();
      this.#end();
    });
    this.#worker = worker;
    return worker;
  }
}

/** Runs only the newest request, one at a time and at least so many milliseconds apart; resolves when it has been done, or waits. */
export function latest(work: () => Promise<void>, apart = 0): () => Promise<void> {
  let [isBusy, isStale] = [false, false];
  return async function run() {
    if (isBusy) {
      isStale = true;
      return;
    }
    isBusy = true;
    await work();
    if (apart > 0) await new Promise((resolve) => setTimeout(resolve, apart));
    isBusy = false;
    if (isStale) {
      isStale = false;
      void run();
    }
  };
}
