import { nextTurn } from '../next-turn';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import type { Spread } from './comparison';

/** What says when the work of calls is done. */
type Finishing = Pick<Runtime, 'finish'>;

export interface TimingPlan {
  /** Repeats stop after this many seconds, amid a round if need be, once each call has `least` of them. */
  readonly seconds: number;
  readonly least: number;
  readonly most: number;
}

/** One sample lasts at least this many milliseconds, so that the clock's steps do not matter. */
const SAMPLE = 5;

/** Milliseconds of a call, its work included. */
export async function timeOnce(runtime: Finishing, call: () => void): Promise<number> {
  // Short calls are computed at once: without a turn for others an abort would not be heard.
  await nextTurn();
  await runtime.finish();
  const start = performance.now();
  call();
  await runtime.finish();
  return performance.now() - start;
}

/** The spreads of what `sampleInterleaved` takes. */
export async function timeInterleaved(...args: Parameters<typeof sampleInterleaved>): Promise<Spread[]> {
  return (await sampleInterleaved(...args)).map(summarise);
}

/**
 * Times calls that have each run once, in milliseconds by call and round. Repeats alternate between them, so that a slow
 * moment of the machine falls on all. `estimates` are the milliseconds that a call takes, roughly.
 */
export async function sampleInterleaved(
  runtime: Finishing,
  calls: readonly (() => void)[],
  estimates: readonly number[],
  { seconds, least, most }: TimingPlan,
  { signal, onProgress }: Control,
): Promise<number[][]> {
  const samples: number[][] = calls.map(() => []);
  const begin = performance.now();
  const elapsed = () => (performance.now() - begin) / 1000;
  const isLate = (round: number) => round >= least && elapsed() >= seconds;
  for (let round = 0; round < most && !isLate(round); round++) {
    for (const [at, call] of calls.entries()) {
      signal?.throwIfAborted();
      if (isLate(round)) break;
      const times = Math.ceil(SAMPLE / Math.max(estimates[at] as number, SAMPLE / 100));
      const time = await timeOnce(runtime, () => {
        for (let i = 0; i < times; i++) call();
      });
      samples[at]?.push(time / times);
      const rounds = round + (at + 1) / calls.length;
      onProgress?.(Math.max(rounds / most, Math.min(1, rounds / least, elapsed() / seconds)));
    }
  }
  return samples;
}

export function summarise(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = ((sorted[Math.ceil(middle) - 1] as number) + (sorted[Math.floor(middle)] as number)) / 2;
  return { median, min: sorted[0] as number, max: sorted.at(-1) as number, repeats: sorted.length };
}
