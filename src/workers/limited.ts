/** Work that may never end, or take all memory: in a worker that is ended after a limit, and begun anew for the work that waits. */
import { deferred } from '../deferred';
import { openThread, type Thread } from './open';
import type { Answer, Call } from './serve';

/** What a worker may take of memory: its heap, and its WebAssembly. */
const MOST_MEGABYTES = 1024;

interface Job extends Call {
  readonly seconds: number;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

type WorkerThread = Thread<Call, Answer>;

/** Ends the workers that nobody can call any more. */
const forgotten = new FinalizationRegistry<{ thread?: WorkerThread | undefined }>(
  ({ thread }) => void thread?.terminate(),
);

/** One call after the other of the functions that a script serves. What a worker keeps is lost when it is ended. */
export class LimitedWorker {
  readonly #held: { thread?: WorkerThread | undefined } = {};
  readonly #jobs: Job[] = [];
  #isBusy = false;

  /** `source` is the script; `begin` what each worker is called with first. */
  constructor(
    private readonly source: () => Promise<string>,
    private readonly begin: () => Call | Promise<Call>,
  ) {
    forgotten.register(this, this.#held);
  }

  /** What a function returns; rejects with its error, or where it takes longer or more memory than it may, with that. */
  call<Result>(name: string, args: readonly unknown[], seconds: number): Promise<Result> {
    const { promise, resolve, reject } = deferred<unknown>();
    this.#jobs.push({ name, args, seconds, resolve, reject });
    if (!this.#isBusy) void this.#work();
    return promise as Promise<Result>;
  }

  get isOpen(): boolean {
    return this.#held.thread !== undefined;
  }

  /** Ends the worker; the next call begins another. */
  end(): void {
    const { thread } = this.#held;
    this.#held.thread = undefined;
    void thread?.terminate();
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    for (let job = this.#jobs.shift(); job; job = this.#jobs.shift()) {
      const { name, args, seconds, resolve, reject } = job;
      try {
        if (!this.#held.thread) {
          this.#held.thread = openThread<Call, Answer>(await this.source(), MOST_MEGABYTES);
          await this.#begun(seconds);
        }
        resolve(await this.#do({ name, args }, seconds));
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    }
    this.#isBusy = false;
  }

  async #begun(seconds: number): Promise<void> {
    try {
      await this.#do(await this.begin(), seconds);
    } catch (error) {
      this.end();
      throw error;
    }
  }

  async #do(call: Call, seconds: number): Promise<unknown> {
    const thread = this.#held.thread as WorkerThread;
    const { promise, resolve, reject } = deferred<Answer>();
    const timer = setTimeout(() => reject(new Error(`it takes more than ${seconds} s`)), 1000 * seconds);
    thread.onMessage = resolve;
    thread.onDeath = (reason) =>
      reject(
        new Error(/memory/i.test(reason) ? `it takes more than ${MOST_MEGABYTES} MB` : `its worker died: ${reason}`),
      );
    thread.hold(true);
    let answer: Answer;
    try {
      thread.send(call);
      answer = await promise;
    } catch (error) {
      this.end();
      throw error;
    } finally {
      clearTimeout(timer);
      thread.hold(false);
      // What holds this would keep it from being forgotten.
      thread.onMessage = thread.onDeath = () => {};
    }
    if (answer.failure === undefined) return answer.result;
    if (answer.isSpoilt) this.end();
    throw new Error(answer.failure);
  }
}
