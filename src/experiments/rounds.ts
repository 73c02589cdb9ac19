/** Times of calls over rounds, and figures of them with their intervals: what claims about speed are judged by. */

import { type Estimate, estimateMedian, exponent, summarise } from '../measure/statistics';
import { timeCalls, timeInterleaved } from '../measure/timing';
import { attention } from '../ops/attention';
import { byLabel, type MeasureContext } from './experiment';
import { disposeAll, held, type Qkv, randomQkv } from './held';

/** Milliseconds by call, then by round: in a round each call has its turn. */
export type Rounds = readonly (readonly number[])[];

/** As many as an interval needs, and a few more, so that a single outlier does not decide its ends. */
const LEAST = 9;
const MOST = 40;

/**
 * Times calls round by round, for `seconds` and at least nine rounds; first each runs once unobserved. What grows with
 * the length belongs into the same rounds as well: between them the machine may change its mood.
 */
export async function timeRounds(
  calls: readonly (() => void)[],
  seconds: number,
  { runtime, signal, onProgress, quick }: MeasureContext,
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
  return estimateMedian(first.map((_, round) => figure(rounds.map((times) => times[round]!))));
}

/** As `overRounds`, of the times by problem, all measured in the same rounds. */
export function overProblems(problems: readonly Rounds[], figure: (times: readonly (readonly number[])[]) => number) {
  const firsts = problems.map((_, at) => problems.slice(0, at).flat().length);
  return overRounds(problems.flat(), (times) =>
    figure(problems.map((rounds, at) => times.slice(firsts[at], firsts[at]! + rounds.length))),
  );
}

/** The median time of each call. */
export function medians(rounds: Rounds): number[] {
  return rounds.map((times) => summarise(times).median);
}

/** Times of the same contenders at several sizes, all measured in the same rounds. */
export class Contest<Name extends string> {
  readonly #sizes: readonly number[];
  readonly #names: readonly Name[];
  readonly #rounds: Rounds;
  /** Median milliseconds of each contender, by size. */
  readonly medians: Readonly<Record<Name, readonly number[]>>;

  /** The rounds hold the contenders of the first size, then those of the second, and so on. */
  constructor(sizes: readonly number[], names: readonly Name[], rounds: Rounds) {
    this.#sizes = sizes;
    this.#names = names;
    this.#rounds = rounds;
    this.medians = this.#byName(medians(rounds));
  }

  /** A figure of the times of one round, by contender and size, over all rounds. */
  over(figure: (times: Readonly<Record<Name, readonly number[]>>) => number): Estimate {
    return overRounds(this.#rounds, (times) => figure(this.#byName(times)));
  }

  /** The exponent of the size in a contender's time. */
  growth(name: Name): Estimate {
    return this.over((times) => exponent(this.#sizes, times[name]));
  }

  /** How many times as fast as another a contender is, at a size by its place; -1 is the last. */
  speedup(name: Name, other: Name, at: number): Estimate {
    return this.over((times) => times[other].at(at)! / times[name].at(at)!);
  }

  /** The medians of the speed-ups at each size. */
  speedups(name: Name, other: Name): number[] {
    return this.#sizes.map((_, at) => this.speedup(name, other, at).value);
  }

  /** The speed-ups of each contender over one of them. */
  allSpeedups(other: Name): Record<Name, number[]> {
    return byLabel(this.#names, (name) => this.speedups(name, other));
  }

  /** The least factor between a contender's speed-ups at one size and the next. */
  leastGain(name: Name, other: Name): Estimate {
    return this.over((times) => {
      const speedups = times[name].map((time, at) => times[other][at]! / time);
      return Math.min(...speedups.slice(1).map((speedup, at) => speedup / speedups[at]!));
    });
  }

  #byName(times: readonly number[]): Record<Name, number[]> {
    const count = this.#names.length;
    return byLabel(this.#names, (_, contender) => times.filter((_, at) => at % count === contender));
  }
}

/** Times the calls of each size, by contender; `seconds` and rounds as in `timeRounds`. */
export async function timeContest<Name extends string>(
  sizes: readonly number[],
  callsOf: (at: number) => Readonly<Record<Name, () => void>>,
  seconds: number,
  context: MeasureContext,
): Promise<Contest<Name>> {
  const calls = sizes.map((_, at) => callsOf(at));
  const rounds = await timeRounds(calls.flatMap(Object.values<() => void>), seconds, context);
  return new Contest(sizes, Object.keys(calls[0] ?? {}) as Name[], rounds);
}

interface Lengths {
  readonly lengths: readonly number[];
  /** Heads and their dimension. */
  readonly h: number;
  readonly d: number;
  readonly causal?: boolean;
  /** The standard deviation of q, k and v; default 1. */
  readonly deviation?: number;
}

/** Exact attention beside other attention of the same q, k and v; what calls return is disposed. As `timeContest`. */
export async function timeBesideExact<Name extends string>(
  { lengths, h, d, causal = false, deviation }: Lengths,
  callsOf: (qkv: Qkv) => Readonly<Record<Name, () => unknown>>,
  seconds: number,
  context: MeasureContext,
): Promise<Contest<Name | 'exact attention'>> {
  const { runtime, signal } = context;
  const inputs = lengths.map((n) => randomQkv(runtime, [1, n, h, d], deviation));
  using _ = held(inputs);
  const calls = inputs.map((qkv) => {
    const exact = () => attention(qkv.q, qkv.k, qkv.v, { causal, signal });
    const all = Object.entries<() => unknown>({ ...callsOf(qkv), 'exact attention': exact });
    return Object.fromEntries(all.map(([name, call]) => [name, () => disposeAll(call())]));
  });
  return await timeContest(
    lengths,
    (at) => calls[at] as Record<Name | 'exact attention', () => void>,
    seconds,
    context,
  );
}
