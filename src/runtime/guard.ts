import type { Control } from './backend';

/** What `onProgress` is told: the share of the work done, from 0 to 1, and of long work what is being done. */
interface Reported {
  readonly signal?: Control['signal'];
  readonly onProgress?: ((share: number, what?: string) => void) | undefined;
}

/** A control whose `onProgress` never throws. */
export interface Guarded {
  readonly control: Reported;
  /** Throws what ends the call: the signal's reason, or what the caller's `onProgress` threw or its promise rejected with. */
  check(): void;
}

const UNGUARDED: Guarded = { control: {}, check() {} };

/**
 * What the caller's `onProgress` throws, or a promise that it returns rejects with meanwhile, ends the work as an abort
 * would. From a timer it would end the process.
 */
export function guard(control: Reported): Guarded {
  const { signal, onProgress } = control;
  if (!onProgress) return signal ? { control, check: () => signal.throwIfAborted() } : UNGUARDED;
  const failure = new AbortController();
  const all = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
  const fail = (error: unknown) => failure.abort(error);
  return {
    control: {
      signal: all,
      onProgress(...progress) {
        if (failure.signal.aborted) return;
        try {
          Promise.resolve(onProgress(...progress)).catch(fail);
        } catch (error) {
          fail(error);
        }
      },
    },
    check: () => all.throwIfAborted(),
  };
}

/**
 * Work of several calls that tells how far it is; it may wait, and then gives no tensors. What the caller's `onProgress` throws,
 * or rejects with meanwhile, ends it and is told by it alone, though calls end with it too.
 */
export function reporting<Own extends Reported, Result>(
  runtime: { readonly calls: { tell(error: unknown): unknown } },
  control: Own,
  work: (control: Own) => Result,
): Result {
  const { control: guarded, check } = guard(control);
  const tell = (error: unknown) => {
    throw runtime.calls.tell(error);
  };
  const onProgress = (share: number, what?: string) => {
    guarded.onProgress?.(share, what);
    check();
  };
  try {
    const result = work({ ...control, ...guarded, ...(control.onProgress && { onProgress }) });
    if (!(result instanceof Promise)) return result;
    const checked = (value: unknown) => {
      check();
      return value;
    };
    return result.then(checked).catch(tell) as Result;
  } catch (error) {
    return tell(error);
  }
}

/** The control of one of `count` equal parts of a call. */
export function controlOf({ signal, onProgress }: Control, index: number, count: number): Control {
  return { signal, onProgress: onProgress && ((share) => onProgress((index + share) / count)) };
}
