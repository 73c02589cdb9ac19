import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { summarise } from '../../measure/statistics';
import type { Control } from '../../runtime/backend';
import { flopsOf } from '../attention-operations';
import type { Session } from '../contender';
import { gateOf } from '../gate';
import { type BenchOptions, commandLine } from '../options';
import { inputsOf, optionsOf, type Problem, problemsOf, rowOf } from '../problem';
import type { BenchRow, Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import type { Context, Suite } from '../suite';

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
  const { threads, only, calls, repeats } = options;
  const settings = runtimeOptions(options);
  const inputs = inputsOf(problem);
  const session = await saccade(runtimes, settings).open({ problem, inputs }, signal);
  const row = (name: string, label: string, measures: BenchRow['measures'], goal: Goal): BenchRow => {
    const narrow = { ...optionsOf(problem), only: [name] };
    const command = commandLine(overheadSuite.name, { ...options, ...narrow }, overheadSuite.defaults);
    return { name, label, ...rowOf(problem), threads, status: 'ok', measures, goal, command };
  };
  try {
    await session.time(WARM_UP, signal);
    const error = gateOf(problem, inputs)(await session.result(signal));
    const rows: BenchRow[] = [];
    if (only.length === 0 || only.includes('call')) {
      const times: number[] = [];
      const overheads: number[] = [];
      for (let round = 0; round < repeats; round++) {
        const time = await session.time(CALLS_PER_ROUND, signal);
        times.push(time);
        const peak = await runtimes.peak(settings);
        if (peak !== undefined) overheads.push(time - flopsOf(problem) / peak / 1e6);
      }
      const { median: time, spread } = summarise(times);
      const overhead = overheads.length > 0 && { overhead: summarise(overheads).median };
      rows.push(row('call', 'one call', { time, spread, error, ...overhead }, OVERHEAD));
    }
    if (only.length === 0 || only.includes('growth')) {
      const live = (await runtimes.get(settings)).memory().live;
      const heapGrowth = await growth(session, calls, { signal, onProgress });
      const liveGrowth = (await runtimes.get(settings)).memory().live - live;
      const goal: Goal = { measure: 'heapGrowth', atMost: calls };
      rows.push(row('growth', `after ${calls} calls`, { heapGrowth, liveGrowth }, goal));
    }
    return rows;
  } finally {
    session.close();
  }
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
