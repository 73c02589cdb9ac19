/** Measures contenders: first whether their results are right, then how fast they are, in interleaved rounds. */
import { WrongResultError } from '../measure/gate';
import { callsFor, rotated } from '../measure/timing';
import type { RuntimeOptions } from '../ops/create-runtime';
import type { Control } from '../runtime/backend';
import { reasonOf } from '../text/reason';
import { operationOf } from './attention-operations';
import type { Contender, Session } from './contender';
import { type Gate, gateOf } from './gate';
import { limited, TooSlowError } from './limit';
import { inputsOf, type Problem, type Task, takesSameInputs } from './problem';
import type { BenchRow } from './report';
import { type Runtimes, runtimeOptions } from './runtimes';

/** Time limits and minimums, in milliseconds. */
export interface Patience {
  /** The longest that a call, or anything else a contender does, is waited for. */
  readonly limit: number;
  /** How long calls go on before the first that counts, so that code is compiled; one call may be enough. */
  readonly warmUp: number;
  /** One sample lasts at least about this long. */
  readonly sample: number;
}
export const PATIENCE: Patience = { limit: 30_000, warmUp: 200, sample: 50 };

/** Milliseconds between contenders, so that spinning threads of the last one have gone to sleep. */
const PAUSE = 100;

export interface Entry {
  readonly contender: Contender;
  readonly problem: Problem;
  /** The build whose multiply-add peak it is compared with on threads; default: the runtime's choice. */
  readonly simd?: RuntimeOptions['simd'] | undefined;
  /** False where the peak of this process does not apply: in a browser. Default: true. */
  readonly hasPeak?: boolean;
}

export type Outcome = Timed | Rejected;

export interface Timed {
  readonly status: 'ok';
  readonly threads: number | undefined;
  /** Replaces its row's label. */
  readonly label?: string | undefined;
  /** Milliseconds of one call, by round. */
  readonly times: readonly number[];
  /** The multiply-add peak of as many threads, or of the GPU, in the same round, in GF/s; empty where it cannot be measured. */
  readonly peaks: readonly number[];
  /** Largest error over the largest |v|. */
  readonly error: number;
  readonly memory: number | undefined;
}

export interface Rejected {
  readonly status: Exclude<BenchRow['status'], 'ok'>;
  readonly reason: string;
  readonly threads?: number;
}

interface Running extends Pick<Timed, 'error' | 'memory'> {
  readonly session: Session;
  readonly peakOf: RuntimeOptions | undefined;
  readonly calls: number;
  readonly rounds: number;
  readonly times: number[];
  readonly peaks: number[];
}

/** Measures groups of entries one after the other; entries of a group take turns. */
export class Measurement {
  /** The last time of each contender on a kind of problem, from which that of a longer one is predicted. */
  #pace = new Map<string, { n: number; ms: number }>();

  constructor(
    readonly runtimes: Runtimes,
    readonly repeats: number,
    readonly patience: Patience = PATIENCE,
  ) {}

  /** Resolves to an outcome for each entry; rejects only if it is aborted. */
  async run(
    entries: readonly Entry[],
    { signal = new AbortController().signal, onProgress }: Control,
  ): Promise<Outcome[]> {
    const running = new Map<Entry, Running>();
    const outcomes = new Map<Entry, Outcome>();
    const attempt = async (entry: Entry, step: () => Promise<void>) => {
      signal.throwIfAborted();
      try {
        await step();
      } catch (error) {
        signal.throwIfAborted();
        const threads = running.get(entry)?.session.threads;
        outcomes.set(entry, { ...rejection(error), ...(threads !== undefined && { threads }) });
        running.get(entry)?.session.close();
        running.delete(entry);
      }
    };
    try {
      const prepare = preparer();
      for (const [at, entry] of entries.entries()) {
        await attempt(entry, async () => {
          running.set(entry, await this.#start(entry, prepare(entry.problem), signal));
        });
        onProgress?.((at + 1) / entries.length / 2);
      }
      for (let round = 0; round < this.repeats; round++) {
        const peaks = new Map<string, number | undefined>();
        for (const [entry, { session, calls, rounds, times, peaks: own, peakOf }] of rotated([...running], round)) {
          if (round >= rounds) continue;
          await attempt(entry, async () => {
            await new Promise((resolve) => setTimeout(resolve, PAUSE));
            const key = JSON.stringify(peakOf ?? 'none');
            if (!peaks.has(key)) peaks.set(key, peakOf && (await this.runtimes.peak(peakOf)));
            // The first calls after a pause wake threads and fill caches, which does not matter for long calls.
            if (calls > 1) await session.time(Math.ceil(calls / 4), signal);
            times.push(await session.time(calls, signal));
            const peak = peaks.get(key);
            if (peak !== undefined) own.push(peak);
          });
        }
        onProgress?.(0.5 + (round + 1) / this.repeats / 2);
      }
      for (const [entry, { session, times, peaks, error, memory }] of running) {
        const { threads, label } = session;
        outcomes.set(entry, { status: 'ok', threads, label, times, peaks, error, memory });
      }
      return entries.map((entry) => outcomes.get(entry) as Outcome);
    } finally {
      for (const { session } of running.values()) session.close();
    }
  }

  /** Opens a contender, checks its first result and finds out how often to call it for one sample. */
  async #start(
    { contender, problem, simd, hasPeak = true }: Entry,
    prepare: () => Promise<Prepared>,
    signal: AbortSignal,
  ): Promise<Running> {
    const { n, h, d, dtype, mask } = problem;
    const { name, growth = 1 } = operationOf(problem);
    const { limit, warmUp, sample } = this.patience;
    const kind = [contender.name, h, d, dtype, mask.name, name].join();
    const before = this.#pace.get(kind);
    const expected = before ? before.ms * (n / before.n) ** growth : 0;
    if (before && expected > limit) {
      throw new TooSlowError(
        `about ${Math.round(expected / 1000)} s a call by its time at n = ${before.n}, the limit is ${limit / 1000} s`,
      );
    }
    const { task, gate } = await prepare();
    const session = await limited(contender, limit).open(task, signal);
    try {
      let ms = await session.time(1, signal);
      const result = await session.result(signal);
      // The first call may compile: where that may matter and there is time, the second one sets the pace.
      if (ms > warmUp && ms < limit / 3) ms = Math.min(ms, await session.time(1, signal));
      this.#pace.set(kind, { n, ms });
      const error = gate(result);
      const end = performance.now() + (ms > warmUp ? 0 : warmUp);
      // In a row, since a GPU's calls may be shorter than the round trip to it.
      const callsOf = () => callsFor(sample, ms);
      while (performance.now() < end) ms = Math.min(ms, await session.time(callsOf(), signal));
      return {
        session,
        peakOf: hasPeak ? peakOptions(session, simd) : undefined,
        error,
        // Now, before another session on the same runtime adds to its peak.
        memory: await session.memory(signal),
        calls: callsOf(),
        rounds: roundsOf(ms),
        times: [],
        peaks: [],
      };
    } catch (error) {
      session.close();
      throw error;
    }
  }
}

/** The status of a row that failed, and why. */
export function rejection(error: unknown): Rejected {
  const status = error instanceof TooSlowError ? 'too slow' : error instanceof WrongResultError ? 'wrong' : 'failed';
  return { status, reason: reasonOf(error) };
}

/** The runtime whose multiply-add peak a session is compared with. */
function peakOptions({ threads }: Session, simd: Entry['simd']): RuntimeOptions {
  return threads === undefined ? { backend: 'webgpu' } : runtimeOptions({ threads, simd });
}

/**
 * Rounds affordable at `ms` a call: those that fit into 20 s; if there are fewer than three, as many of three as fit
 * into a minute together with the call already made, and at least one.
 */
export function roundsOf(ms: number): number {
  return Math.max(1, Math.floor(20_000 / ms), Math.min(3, Math.floor(60_000 / ms) - 1));
}

interface Prepared {
  readonly task: Task;
  readonly gate: Gate;
}

/** Inputs and reference of the last problem, made once, on demand; problems of equal extents share inputs. */
function preparer(): (problem: Problem) => () => Promise<Prepared> {
  let last: Prepared | undefined;
  return (problem) => async () => {
    if (last?.task.problem !== problem) {
      const inputs = last && takesSameInputs(last.task.problem, problem) ? last.task.inputs : inputsOf(problem);
      last = { task: { problem, inputs }, gate: await gateOf(problem, inputs) };
    }
    return last;
  };
}
