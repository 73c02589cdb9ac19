import { availableParallelism } from 'node:os';
import { backward } from '../attention-operations';
import type { BenchOptions } from '../options';
import { optionsOf, type Problem, problemsOf } from '../problem';
import type { Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type PlannedRow, timedSuite } from '../suite';

const PASSES = ['forward', 'backward'] as const;
type Pass = (typeof PASSES)[number];

/** On one thread, at n = 4096 and d = 64. */
const GOAL: Goal = { measure: 'peakShare', atLeast: 0.7 };

/** Two rows for each problem and number of threads, or for the GPU, so that the passes take turns. */
export const backwardSuite = timedSuite({
  name: 'backward',
  summary: 'gradients of exact attention beside its forward pass, with one thread and with all, or on the GPU',
  defaults: {
    n: [4096],
    d: [64],
    masks: ['full', 'causal'],
    heads: 8,
    backend: 'wasm',
    threads: availableParallelism(),
    simd: undefined,
    repeats: 9,
    only: [],
  },
  ratio: 'time over that of the forward pass in the same place, which has two fifths of the arithmetic',
  ratioOf: 'time',
  names: (options) => counts(options).flatMap((count) => PASSES.map((pass) => nameOf(pass, count, options.threads))),
  groups({ runtimes }, options) {
    const { threads, simd } = options;
    const row = (pass: Pass, count: Count, forward: Problem): PlannedRow => {
      const problem = pass === 'backward' ? { ...forward, operation: backward } : forward;
      const { n, d } = problem;
      return {
        name: nameOf(pass, count, threads),
        label: count === undefined ? pass : `${pass}, ${count === 1 ? '1 thread' : `${count} threads`}`,
        contender: saccade(runtimes, runtimeOptions({ ...options, threads: count ?? threads })),
        problem,
        simd,
        narrow: optionsOf(problem),
        goal: pass === 'backward' && count === 1 && n === 4096 && d === 64 ? GOAL : undefined,
      };
    };
    return problemsOf(options).flatMap((problem) =>
      counts(options).map((count) => PASSES.map((pass) => row(pass, count, problem))),
    );
  },
});

/** Of threads; a GPU has none. */
type Count = number | undefined;

function counts({ backend, threads }: BenchOptions): Count[] {
  if (backend === 'webgpu') return [undefined];
  return threads > 1 ? [1, threads] : [1];
}

/** `backward` uses all threads, or the GPU. */
function nameOf(pass: Pass, count: Count, threads: number): string {
  return count !== undefined && count < threads ? `${pass}-1-thread` : pass;
}
