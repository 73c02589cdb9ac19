import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { flopsOf } from '../attention-operations';
import { lastLine, reportInChild } from '../child';
import { gateOf } from '../gate';
import { type BenchOptions, commandWords, optionsOf, problemsOf } from '../options';
import { inputsOf, type Problem } from '../problem';
import type { BenchRow } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type Context, type PlannedRow, rowBy, type Suite } from '../suite';

const NAME = 'saccade';
const GOAL = { measure: 'residentSet', atMost: 300e6 } as const;

/** Each row is measured in a new process, so that nothing measured before counts. */
export const memorySuite: Suite = {
  name: 'memory',
  summary: 'what a whole process holds at most for one call on a long sequence, Node itself included',
  defaults: {
    n: [65536],
    d: [64],
    masks: ['full'],
    heads: 1,
    threads: availableParallelism(),
    simd: undefined,
    inProcess: false,
  },
  measures: ['residentSet', 'memory', 'time', 'rate'],
  names: () => [NAME],
  async *run(context, options) {
    for (const problem of problemsOf(options)) {
      const row = { name: NAME, label: 'Saccade', problem, goal: GOAL, narrow: optionsOf(problem) };
      yield [await rowOfProcess(context, memorySuite, options, row)];
    }
  },
};

/** A row about a process: this one, or a new one that runs the suite with these options. */
export async function rowOfProcess(
  context: Context,
  suite: Pick<Suite, 'name' | 'defaults'>,
  options: BenchOptions,
  row: PlannedRow,
): Promise<BenchRow> {
  const { signal } = context;
  const rowWith = (measure: () => Promise<BenchRow['measures']>) => rowBy(suite, options, row, measure, signal);
  if (options.inProcess) return rowWith(() => measuresOfProcess(context, options, row.problem));
  const words = commandWords(suite.name, { ...options, ...row.narrow, inProcess: true }, suite.defaults);
  try {
    return (await reportInChild(process.argv[1] as string, words, signal)).rows[0] as BenchRow;
  } catch (error) {
    return rowWith(() => Promise.reject(lastLine(error as Error)));
  }
}

/** Measures of a first call in this process, which has done nothing else before. */
async function measuresOfProcess(
  { runtimes, signal }: Context,
  options: BenchOptions,
  problem: Problem,
): Promise<BenchRow['measures']> {
  const inputs = inputsOf(problem);
  const control = signal ?? new AbortController().signal;
  const session = await saccade(runtimes, runtimeOptions(options)).open({ problem, inputs }, control);
  try {
    const time = await session.time(1, control);
    const residentSet = await peakResidentSet();
    const memory = await session.memory(control);
    const error = (await gateOf(problem, inputs))(await session.result(control));
    return {
      residentSet,
      ...(memory !== undefined && { memory }),
      time,
      rate: flopsOf(problem) / time / 1e6,
      error,
    };
  } finally {
    session.close();
  }
}

/** The peak memory of this process, in bytes. Linux's `maxRSS` also counts the parent's. */
async function peakResidentSet(): Promise<number> {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  const [, kibibytes] = (await readFile('/proc/self/status', 'utf8')).match(/VmHWM:\s+(\d+) kB/) ?? [];
  return Number(kibibytes) * 1024;
}
