/** Times calls including their work, interleaved, so that a slow moment of the machine affects all of them. */
import { nextTurn } from '../next-turn';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';

/** Tells when the work of calls is done. */
type Finishing = Pick<Runtime, 'finish'>;

export interface TimingPlan {
  /** Repeats stop after this many seconds, even within a round, once each call has `least` of them. */
  readonly seconds: number;
  readonly least: number;
  readonly most: number;
  /** Called with the error of a call, which is then left out; by default the error is thrown. */
  readonly onFailure?: (at: number, error: unknown) => Promise<void>;
}

/** A sample lasts at least this many milliseconds, so that the clock's resolution does not matter. */
const SAMPLE = 5;
/** Most calls of a sample, if a coarse clock shows no time for one. */
const MOST = 10_000;

/** Milliseconds of a call, over `calls` in a row. */
export async function timeCalls(runtime: Finishing, call: () => unknown, calls = 1): Promise<number> {
  // Short calls never yield, so an abort could not be noticed.
  await nextTurn();
  await runtime.finish();
  const start = performance.now();
  for (let i = 0; i < calls; i++) await call();
  await runtime.finish();
  return (performance.now() - start) / calls;
}

/** The number of calls of about `ms` milliseconds in a sample of `sample` milliseconds. */
export const callsFor = (sample: number, ms: number): number => Math.ceil(sample / Math.max(ms, sample / MOST));

/** The items from another one on in each round, so that none always follows the same one. */
export function rotated<T>(items: readonly T[], round: number): T[] {
  const start = items.length === 0 ? 0 : round % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

/**
 * Milliseconds of calls that have each run once, by call and round; in a round each is timed in turn. `estimates` are roughly
 * the milliseconds that a call takes.
 */
export async function timeInterleaved(
  runtime: Finishing,
  calls: readonly (() => void)[],
  estimates: readonly number[],
  { seconds, least, most, onFailure }: TimingPlan,
  { signal, onProgress }: Control,
): Promise<number[][]> {
  const samples: number[][] = calls.map(() => []);
  const begin = performance.now();
  const elapsed = () => (performance.now() - begin) / 1000;
  const isLate = (round: number) => round >= least && elapsed() >= seconds;
  const failed = new Set<number>();
  for (let round = 0; round < most && !isLate(round); round++) {
    for (const [at, call] of calls.entries()) {
      signal?.throwIfAborted();
      if (isLate(round)) break;
      if (failed.has(at)) continue;
      try {
        samples[at]?.push(await timeCalls(runtime, call, callsFor(SAMPLE, estimates[at] as number)));
      } catch (error) {
        if (!onFailure) throw error;
        failed.add(at);
        await onFailure(at, error);
      }
      const rounds = round + (at + 1) / calls.length;
      onProgress?.(Math.max(rounds / most, Math.min(1, rounds / least, elapsed() / seconds)));
    }
  }
  return samples;
}
