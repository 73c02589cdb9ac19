import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { summarise } from '../../measure/statistics';
import type { Control } from '../../runtime/backend';
import { flopsOf } from '../attention-operations';
import type { Session } from '../contender';
import { gateOf } from '../gate';
import { type BenchOptions, optionsOf, problemsOf } from '../options';
import { inputsOf, type Problem } from '../problem';
import type { BenchRow, Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type Context, rowBy, type Suite } from '../suite';

/** What a row measures in a session, given the error of its result. */
type Measure = (session: Session, error: number) => Promise<BenchRow['measures']>;

const WARM_UP = 2000;
const CALLS_PER_ROUND = 200;
/** Milliseconds a call may cost beyond its arithmetic. */
const OVERHEAD: Goal = { measure: 'overhead', atMost: 0.1 };

/** Two rows for each problem: what a call costs beside its arithmetic, and what many calls leave behind. */
export const overheadSuite: Suite = {
  name: 'overhead',
  summary: 'short calls in a loop: what each costs beside its arithmetic, and what they leave behind',
  defaults: {
    n: [64],
    d: [64],
    masks: ['full'],
    // One head: the less arithmetic there is, the clearer what a call costs beside it.
    heads: 1,
    threads: availableParallelism(),
    simd: undefined,
    repeats: 15,
    calls: 100_000,
    only: [],
  },
  measures: ['time', 'spread', 'overhead', 'heapGrowth', 'liveGrowth'],
  names: () => ['call', 'growth'],
  async *run(context, options) {
    for (const problem of problemsOf(options)) yield await measureProblem(context, options, problem);
  },
};

async function measureProblem(context: Context, options: BenchOptions, problem: Problem): Promise<BenchRow[]> {
  const { runtimes, signal = new AbortController().signal, onProgress } = context;
  const { only, calls, repeats } = options;
  const settings = runtimeOptions(options);
  const inputs = inputsOf(problem);
  const rows: BenchRow[] = [];
  const add = async (name: string, label: string, goal: Goal, measure: Measure) => {
    if (only.length > 0 && !only.includes(name)) return;
    const row = { name, label, problem, goal, narrow: optionsOf(problem) };
    rows.push(await rowBy(overheadSuite, options, row, () => warm(measure), signal));
  };
  /** Runs `measure` in a session that has warmed up. */
  const warm = async (measure: Measure) => {
    const session = await saccade(runtimes, settings).open({ problem, inputs }, signal);
    try {
      await session.time(WARM_UP, signal);
      const error = (await gateOf(problem, inputs))(await session.result(signal));
      return await measure(session, error);
    } finally {
      session.close();
    }
  };
  await add('call', 'one call', OVERHEAD, async (session, error) => {
    const times: number[] = [];
    const overheads: number[] = [];
    for (let round = 0; round < repeats; round++) {
      const time = await session.time(CALLS_PER_ROUND, signal);
      times.push(time);
      const peak = await runtimes.peak(settings);
      if (peak !== undefined) overheads.push(time - flopsOf(problem) / peak / 1e6);
    }
    const { median: time, spread } = summarise(times);
    return { time, spread, error, ...(overheads.length > 0 && { overhead: summarise(overheads).median }) };
  });
  await add('growth', `after ${calls} calls`, { measure: 'heapGrowth', atMost: calls }, async (session) => {
    const live = (await runtimes.get(settings)).memory().live;
    const heapGrowth = await growth(session, calls, { signal, onProgress });
    return { heapGrowth, liveGrowth: (await runtimes.get(settings)).memory().live - live };
  });
  return rows;
}

/** Bytes of JavaScript heap that `calls` calls leave after a collection. */
async function growth(
  session: Session,
  calls: number,
  { signal, onProgress }: Control & { signal: AbortSignal },
): Promise<number> {
  const step = Math.ceil(calls / 100);
  const before = collectedHeap();
  for (let done = 0; done < calls; done += step) {
    await session.time(Math.min(step, calls - done), signal);
    onProgress?.(done / calls);
  }
  return collectedHeap() - before;
}

function collectedHeap(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}
