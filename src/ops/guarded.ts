import type { Control } from '../runtime/backend';

/**
 * Does `work` with an `onProgress` that never throws: what the caller's throws, or a promise that it returns rejects with
 * meanwhile, ends the work as an abort would and is what this rejects with. From a timer it would end the process.
 */
export async function guarded<T>(control: Control, work: (control: Control) => Promise<T>): Promise<T> {
  const { signal, onProgress } = control;
  if (!onProgress) return work(control);
  const failure = new AbortController();
  let isOver = false;
  const fail = (error: unknown) => {
    // Nobody else would hear of it.
    if (isOver) throw error;
    failure.abort(error);
  };
  try {
    const result = await work({
      signal: signal ? AbortSignal.any([signal, failure.signal]) : failure.signal,
      onProgress: (share) => {
        if (failure.signal.aborted) return;
        try {
          Promise.resolve(onProgress(share)).catch(fail);
        } catch (error) {
          fail(error);
        }
      },
    });
    failure.signal.throwIfAborted();
    return result;
  } finally {
    isOver = true;
  }
}
