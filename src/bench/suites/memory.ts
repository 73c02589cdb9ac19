import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { flopsOf } from '../attention-operations';
import { reportInChild } from '../child';
import { gateOf } from '../gate';
import { type BenchOptions, commandLine, commandWords } from '../options';
import { inputsOf, optionsOf, type Problem, problemsOf, rowOf } from '../problem';
import type { BenchRow } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import type { Context, Suite } from '../suite';

const NAME = 'saccade';
const GOAL = { measure: 'residentSet', atMost: 300e6 } as const;

/** Each row comes from a process of its own, so that nothing measured before counts. */
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
      const own = { ...options, ...optionsOf(problem) };
      yield options.inProcess
        ? [await measureHere(context, own, problem)]
        : await rowsOfChild(context, own, memorySuite);
    }
  },
};

async function measureHere(context: Context, options: BenchOptions, problem: Problem): Promise<BenchRow> {
  return {
    name: NAME,
    label: 'Saccade',
    ...rowOf(problem),
    threads: options.threads,
    status: 'ok',
    measures: await measuresOfProcess(context, options, problem),
    goal: GOAL,
    command: commandLine(memorySuite.name, { ...options, inProcess: false }, memorySuite.defaults),
  };
}

/** Of a first call in this process, of which nothing else was asked before. */
export async function measuresOfProcess(
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
    const error = gateOf(problem, inputs)(await session.result(control));
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

/** The rows that a fresh process reports under these options. */
export async function rowsOfChild(
  { signal }: Context,
  options: BenchOptions,
  { name, defaults }: Pick<Suite, 'name' | 'defaults'>,
): Promise<readonly BenchRow[]> {
  const words = commandWords(name, { ...options, inProcess: true }, defaults);
  return (await reportInChild(process.argv[1] as string, words, signal)).rows;
}

/** The most memory this process has held, in bytes. Linux's `maxRSS` would also count what the parent held. */
async function peakResidentSet(): Promise<number> {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS * 1024;
  const [, kibibytes] = (await readFile('/proc/self/status', 'utf8')).match(/VmHWM:\s+(\d+) kB/) ?? [];
  return Number(kibibytes) * 1024;
}
