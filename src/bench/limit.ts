import { significant } from '../text/format';
import type { Contender } from './contender';

/** A contender was not waited for; the message says how long it took or would take. */
export class TooSlowError extends Error {
  override name = 'TooSlowError';
}

/** The contender, with a TooSlowError instead of any answer that takes longer than `limit` milliseconds. */
export function limited(contender: Contender, limit: number): Contender {
  const within = async <T>(what: string, signal: AbortSignal, act: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const timeout = AbortSignal.timeout(Math.ceil(limit));
    try {
      return await act(AbortSignal.any([signal, timeout]));
    } catch (error) {
      if (error !== timeout.reason) throw error;
      throw new TooSlowError(`${what} took longer than the limit of ${significant(limit / 1000)} s`);
    }
  };
  return {
    name: contender.name,
    async open(task, signal) {
      const session = await within('opening it', signal, (either) => contender.open(task, either));
      return {
        threads: session.threads,
        label: session.label,
        time: (calls, signal) => within('a call', signal, (either) => session.time(calls, either)),
        result: (signal) => within('reading its result', signal, (either) => session.result(either)),
        memory: (signal) => within('reading its memory', signal, (either) => session.memory(either)),
        close: () => session.close(),
      };
    },
  };
}
