/** Times of calls over rounds, and figures of them with their intervals: what claims about speed are judged by. */

import { type Estimate, estimateMedian, summarise } from '../measure/statistics';
import { timeCalls, timeInterleaved } from '../measure/timing';
import type { ExperimentContext } from './experiment';

/** Milliseconds by call, then by round: in a round each call has its turn. */
export type Rounds = readonly (readonly number[])[];

/** As many as an interval needs, and some more, so that a single outlier does not set its end. */
const LEAST = 9;
const MOST = 40;

/**
 * Times calls round by round, for `seconds` and at least nine rounds; first each runs once unobserved. What grows with
 * the length belongs into the same rounds as well: between them the machine may change its mood.
 */
export async function timeRounds(
  calls: readonly (() => void)[],
  seconds: number,
  { runtime, signal, onProgress, quick = false }: ExperimentContext,
): Promise<Rounds> {
  const estimates: number[] = [];
  for (const call of calls) {
    signal?.throwIfAborted();
    call();
    estimates.push(await timeCalls(runtime, call));
  }
  const plan = quick ? { seconds: 0, least: 1, most: 1 } : { seconds, least: LEAST, most: MOST };
  return timeInterleaved(runtime, calls, estimates, plan, { signal, onProgress });
}

/** A figure of the times of one round, of all calls, over all rounds. */
export function overRounds(rounds: Rounds, figure: (times: readonly number[]) => number): Estimate {
  const [first = []] = rounds;
  return estimateMedian(first.map((_, round) => figure(rounds.map((times) => times[round] as number))));
}

/** The median time of each call. */
export function medians(rounds: Rounds): number[] {
  return rounds.map((times) => summarise(times).median);
}
