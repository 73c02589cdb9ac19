import type { Control } from './backend';

/** A control whose `onProgress` never throws. */
export interface Guarded {
  readonly control: Control;
  /** Throws what ends the call: the signal's reason, or what the caller's `onProgress` threw or its promise rejected with. */
  check(): void;
}

const UNGUARDED: Guarded = { control: {}, check() {} };

/**
 * What the caller's `onProgress` throws, or a promise that it returns rejects with meanwhile, ends the work as an abort
 * would. From a timer it would end the process.
 */
export function guard(control: Control): Guarded {
  const { signal, onProgress } = control;
  if (!onProgress) return signal ? { control, check: () => signal.throwIfAborted() } : UNGUARDED;
  const failure = new AbortController();
  const all = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
  const fail = (error: unknown) => failure.abort(error);
  return {
    control: {
      signal: all,
      onProgress(share) {
        if (failure.signal.aborted) return;
        try {
          Promise.resolve(onProgress(share)).catch(fail);
        } catch (error) {
          fail(error);
        }
      },
    },
    check: () => all.throwIfAborted(),
  };
}
