/** The thread of a served model, from outside: whatever it computes, this one answers. */
import { extname } from 'node:path';
import { MessageChannel, Worker } from 'node:worker_threads';
import { deferred } from '../deferred';
import { SaccadeError } from '../errors';
import type { LanguageOptions } from './language';
import type { InterfaceOptions } from './openai-queue';
import { RefusedError } from './openai-requests';
import type { Answer } from './serve-front';

export interface ThreadOptions extends LanguageOptions, Omit<InterfaceOptions, 'signal'> {
  readonly rows: number;
}

/** What the thread says first, once it has the model or why it has none. */
export type Started =
  | { readonly context: number }
  | { readonly failure: { readonly message: string; readonly isRefusal: boolean } };

/** Pieces of an answer that are made before any is read. */
export const AHEAD = 16;
/** How long a reader may take none of them, in milliseconds. */
const STALLED = 10_000;
/** How long it may take to free what it holds, in milliseconds. */
const LAST_TIME = 300;

export class ModelThread {
  readonly #worker: Worker;
  readonly #ended = deferred<never>();

  constructor(options: ThreadOptions) {
    this.#worker = new Worker(new URL(`./serve-model${extname(import.meta.url)}`, import.meta.url), {
      workerData: options,
      // What requests leave behind is collected early.
      resourceLimits: { maxYoungGenerationSizeMb: 16 },
    });
    this.#worker.on('error', this.#ended.reject);
    this.#worker.on('exit', (code) => this.#ended.reject(new Error(`the model's thread ended with code ${code}`)));
    this.#ended.promise.catch(() => {});
  }

  /** Rejects once the thread has ended. */
  get ended(): Promise<never> {
    return this.#ended.promise;
  }

  /** Resolves to the model's context, once it is there. */
  async start(signal: AbortSignal): Promise<number> {
    const { promise, resolve, reject } = deferred<Started>();
    this.#worker.once('message', resolve);
    signal.addEventListener('abort', () => reject(signal.reason));
    const started = await Promise.race([promise, this.ended]);
    if ('context' in started) return started.context;
    const { message, isRefusal } = started.failure;
    throw isRefusal ? new SaccadeError(message) : new Error(message);
  }

  readonly answer: Answer = (path, body, { signal, onEnd }) => {
    const { port1, port2 } = new MessageChannel();
    const { promise, resolve, reject } = deferred<Response>();
    let out: ReadableStreamDefaultController<Uint8Array> | undefined;
    let stalling: NodeJS.Timeout | undefined;
    const pull = () => {
      clearTimeout(stalling);
      port1.postMessage('more');
    };
    const start = (controller: typeof out) => {
      out = controller;
    };
    const source = { start, pull, cancel: () => port1.close() };
    port1.on('message', (message: ResponseInit | Uint8Array) => {
      if (!(message instanceof Uint8Array))
        return resolve(new Response(new ReadableStream(source, { highWaterMark: AHEAD }), message));
      out?.enqueue(message);
      clearTimeout(stalling);
      if ((out?.desiredSize ?? 0) <= 0) stalling = setTimeout(() => port1.close(), STALLED);
    });
    port1.on('close', () => {
      clearTimeout(stalling);
      onEnd();
      reject(new RefusedError(503, 'the server is ending'));
      try {
        out?.close();
      } catch {
        // The client has left.
      }
    });
    signal.addEventListener('abort', () => port1.close());
    this.#worker.postMessage({ path, body, port: port2 }, [port2, body.buffer as ArrayBuffer]);
    return promise;
  };

  /** Ends answers under way. */
  end(): void {
    this.#worker.postMessage('end');
  }

  async stop(): Promise<void> {
    this.end();
    const timer = setTimeout(() => this.#worker.terminate(), LAST_TIME);
    await this.ended.catch(() => {});
    clearTimeout(timer);
  }
}
