/** Controls of callers: what `onProgress` throws ends the work, and parts of a call report their share of it. */
import type { Control } from './backend';

interface Reported {
  readonly signal?: Control['signal'];
  /** Gets the share of the work done, from 0 to 1, and for long work what is being done. */
  readonly onProgress?: ((share: number, what?: string) => void) | undefined;
}

/** A control whose `onProgress` never throws. */
export interface Guarded {
  readonly control: Reported;
  /** Throws the signal's reason, or what the caller's `onProgress` threw or its promise rejected with. */
  check(): void;
  /** What `onProgress` waits for, if it has returned promises: rejects with what one of them rejected with. */
  told(): Promise<void> | undefined;
}

const UNGUARDED: Guarded = { control: {}, check() {}, told: () => undefined };

/**
 * What the caller's `onProgress` throws, or a promise it returns rejects with, ends the work as an abort would: thrown from a
 * timer it would end the process.
 */
export function guard(control: Reported): Guarded {
  const { signal, onProgress } = control;
  if (!onProgress) return signal ? { ...UNGUARDED, control, check: () => signal.throwIfAborted() } : UNGUARDED;
  const failure = new AbortController();
  const all = signal ? AbortSignal.any([signal, failure.signal]) : failure.signal;
  const fail = (error: unknown) => failure.abort(error);
  let told: Promise<unknown> | undefined;
  return {
    control: {
      signal: all,
      onProgress(...progress) {
        if (failure.signal.aborted) return;
        try {
          const answer: unknown = onProgress(...progress);
          if (!(answer instanceof Promise)) return;
          const heard = answer.catch(fail);
          told = told ? Promise.all([told, heard]) : heard;
          // Whoever passed on this call is told too.
          return answer;
        } catch (error) {
          fail(error);
        }
      },
    },
    check: () => all.throwIfAborted(),
    told: () => told?.then(() => failure.signal.throwIfAborted()),
  };
}

/**
 * Work of several calls that reports its progress and may be asynchronous. What the caller's `onProgress` throws or rejects
 * with ends it and is reported once, though calls fail with it too.
 */
export function reporting<Own extends Reported, Result>(
  runtime: { readonly calls: { report(error: unknown): unknown } },
  control: Own,
  work: (control: Own) => Result,
): Result {
  const { control: guarded, check, told } = guard(control);
  const fail = (error: unknown) => {
    throw runtime.calls.report(error);
  };
  const onProgress = (share: number, what?: string) => {
    const answer = guarded.onProgress?.(share, what);
    check();
    return answer;
  };
  try {
    const result = work({ ...control, ...guarded, ...(control.onProgress && { onProgress }) });
    if (!(result instanceof Promise)) return result;
    const checked = async (value: unknown) => {
      await told();
      check();
      return value;
    };
    return result.then(checked).catch(fail) as Result;
  } catch (error) {
    return fail(error);
  }
}

/** The control of one of `count` equal parts of a call. */
export function controlOf({ signal, onProgress }: Control, index: number, count: number): Control {
  return { signal, onProgress: onProgress && ((share) => onProgress((index + share) / count)) };
}
