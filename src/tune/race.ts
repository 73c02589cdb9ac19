/** Races candidates against the one in use: in rounds that meet all of them, so that a busy moment does too. */
import { summarise } from '../measure/statistics';
import { callsFor, rotated } from '../measure/timing';

/** Milliseconds of a call, from so many in a row, since clocks may be coarse. */
export type Racer = (calls: number) => Promise<number>;

export interface Course {
  /** One sample lasts at least about this long, in milliseconds. */
  readonly sample: number;
  /** Of all, to find those that are worth a closer look. */
  readonly heats: number;
  /** Of the fastest, which decide. */
  readonly finals: number;
}

export interface Standing {
  /** Median of the time over that of the first racer in the same round. */
  readonly ratio: number;
  /** By which ratios differ from round to round. */
  readonly noise: number;
}

/** In a heat or two this much slower than the first is slower. */
const HOPELESS = 2;
/** Beside the first. */
const FINALISTS = 3;
/** Less of a difference is none, however steady. */
const LEAST_NOISE = 0.02;

export interface Result {
  /** Milliseconds of a call of the first racer, the median. */
  readonly ms: number;
  /** Of each racer. */
  readonly standings: readonly Standing[];
  /** The fastest of those that beat the first by more than the noise, or the first. */
  readonly winner: number;
}

/** Finalists race again, so that luck in the heats decides nothing. */
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

/** Than the first, by more than the noise. */
export const isFaster = ({ ratio, noise }: Standing) => ratio < 1 - noise;

function standingOf(times: readonly number[], first: readonly number[]): Standing {
  const ratios = times.map((ms, round) => ms / (first[round] as number));
  const { median: ratio, spread } = summarise(ratios);
  return { ratio, noise: Math.max(LEAST_NOISE, spread * ratio) };
}
