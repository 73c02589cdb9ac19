/** A worker's side of `LimitedWorker`. */

/** A function that is called, by its name. */
export interface Call {
  readonly name: string;
  readonly args: readonly unknown[];
}

export interface Answer {
  readonly result?: unknown;
  readonly failure?: string;
  /** Whether the worker can do no more. */
  readonly isSpoilt?: boolean;
}

/** An error after which the worker can do no more. */
export class SpoilingError extends Error {}

// biome-ignore lint/suspicious/noExplicitAny: what they take is theirs.
type Functions = Readonly<Record<string, (...args: any[]) => unknown>>;

/** Answers calls of these functions, one at a time. */
export function serveCalls(functions: Functions): void {
  const port = globalThis.process?.getBuiltinModule?.('node:worker_threads').parentPort;
  const answer = async ({ name, args, lock }: Call & { readonly lock?: string }): Promise<Answer> => {
    if (lock) await held(lock);
    try {
      return { result: await functions[name]?.(...args) };
    } catch (error) {
      return { failure: (error as Error).message, isSpoilt: error instanceof SpoilingError };
    }
  };
  if (port) port.on('message', async (call) => port.postMessage(await answer(call)));
  else globalThis.addEventListener('message', async ({ data }) => globalThis.postMessage(await answer(data)));
}

let holding: Promise<void> | undefined;

/** Holds a lock until the worker ends, which tells that it did. */
function held(lock: string): Promise<void> {
  holding ??= new Promise<void>((resolve) => {
    navigator.locks
      .request(lock, () => {
        resolve();
        return new Promise<never>(() => {});
      })
      .catch(resolve as () => void);
  });
  return holding;
}

/** Lets a WebAssembly memory grow to so many bytes only, as limits of a worker's heap do not count it. */
export function limitWebAssembly(most = 2 ** 30): void {
  const { prototype } = WebAssembly.Memory;
  const { grow } = prototype;
  prototype.grow = function (this: WebAssembly.Memory, pages: number) {
    if (this.buffer.byteLength + 2 ** 16 * pages > most) throw new RangeError('the memory may not grow further');
    return grow.call(this, pages);
  };
}
