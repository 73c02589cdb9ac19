/** Races candidates against the current one, in rounds of all of them, so that a busy moment affects all. */
import { summarise } from '../measure/statistics';
import { callsFor, rotated } from '../measure/timing';

/** Milliseconds of a call, measured over several in a row, since clocks may be coarse. */
export type Racer = (calls: number) => Promise<number>;

export interface Course {
  /** Least milliseconds of a sample, about. */
  readonly sample: number;
  /** Rounds of all candidates, which choose the finalists. */
  readonly heats: number;
  /** Rounds of the finalists, which decide. */
  readonly finals: number;
}

export interface Standing {
  /** Median of the time relative to the first racer's in the same round. */
  readonly ratio: number;
  /** How much ratios vary from round to round. */
  readonly noise: number;
}

/** A racer this many times slower than the first runs no more. */
const HOPELESS = 2;
/** Finalists besides the first. */
const FINALISTS = 3;
/** Smaller differences do not count, however steady. */
const LEAST_NOISE = 0.02;

export interface Result {
  /** Milliseconds of a call of the first racer, the median. */
  readonly ms: number;
  /** One for each racer. */
  readonly standings: readonly Standing[];
  /** The fastest of those that beat the first by more than the noise, or the first. */
  readonly winner: number;
}

/** The finalists race again, so that luck in the heats decides nothing. */
export async function race(
  racers: readonly Racer[],
  { sample, heats, finals }: Course,
  onProgress: (share: number) => void,
): Promise<Result> {
  const estimate = Math.min(await (racers[0] as Racer)(1), await (racers[0] as Racer)(1));
  const calls = callsFor(sample, estimate);
  const all = racers.map((_, at) => at);
  const standings: Standing[] = [];
  const run = async (entrants: readonly number[], rounds: number, from: number, to: number) => {
    const times = new Map<number, number[]>(entrants.map((at) => [at, []]));
    for (let round = 0; round < rounds; round++) {
      for (const at of rotated(entrants, round)) {
        const past = times.get(at) as number[];
        const first = times.get(0) as number[];
        if (past.some((ms, before) => ms > HOPELESS * (first[before] ?? Number.POSITIVE_INFINITY))) continue;
        past.push(await (racers[at] as Racer)(calls));
      }
      await onProgress(from + ((to - from) * (round + 1)) / rounds);
    }
    const first = times.get(0) as number[];
    for (const at of entrants) standings[at] = standingOf(times.get(at) as number[], first);
    return summarise(first).median;
  };
  await run(all, heats, 0, 0.5);
  const byRatio = (a: number, b: number) => (standings[a] as Standing).ratio - (standings[b] as Standing).ratio;
  const finalists = all.slice(1).sort(byRatio).slice(0, FINALISTS);
  const ms = await run([0, ...finalists], finals, 0.5, 1);
  const better = finalists.filter((at) => isFaster(standings[at] as Standing)).sort(byRatio);
  return { ms, standings, winner: better[0] ?? 0 };
}

/** Whether a racer beats the first by more than the noise. */
export const isFaster = ({ ratio, noise }: Standing) => ratio < 1 - noise;

function standingOf(times: readonly number[], first: readonly number[]): Standing {
  const ratios = times.map((ms, round) => ms / (first[round] as number));
  const { median: ratio, spread } = summarise(ratios);
  return { ratio, noise: Math.max(LEAST_NOISE, spread * ratio) };
}
