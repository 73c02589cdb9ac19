import { backward } from '../attention-operations';
import { type BenchOptions, optionsOf, problemsOf } from '../options';
import type { Problem } from '../problem';
import type { Goal } from '../report';
import { type PlannedRow, TIMING, timedSuite } from '../suite';

/** On one thread, at n = 4096 and d = 64. */
const GOAL: Goal = { measure: 'peakShare', atLeast: 0.7 };

/** Two rows for each problem and number of threads (or the GPU), so that the passes take turns. */
export const backwardSuite = timedSuite({
  name: 'backward',
  summary: 'gradients of exact attention beside its forward pass, with one thread and with all, or on the GPU',
  defaults: { n: [4096], d: [64], masks: ['full', 'causal'], heads: 8, backend: 'wasm', ...TIMING },
  ratio: 'time over that of the forward pass in the same place, which has two fifths of the arithmetic',
  ratioOf: 'time',
  groups: (options) =>
    problemsOf(options).flatMap((problem) =>
      counts(options).map((count) => [
        rowOf('forward', options, count, problem),
        rowOf('backward', options, count, { ...problem, operation: backward }),
      ]),
    ),
});

/** With all threads, or on the GPU, a row is named after its pass. */
function rowOf(pass: 'forward' | 'backward', options: BenchOptions, count: Count, problem: Problem): PlannedRow {
  const isTarget = pass === 'backward' && count === 1 && problem.n === 4096 && problem.d === 64;
  return {
    name: count !== undefined && count < options.threads ? `${pass}-1-thread` : pass,
    label: count === undefined ? pass : `${pass}, ${count === 1 ? '1 thread' : `${count} threads`}`,
    threads: count,
    problem,
    narrow: optionsOf(problem),
    goal: isTarget ? GOAL : undefined,
  };
}

/** A number of threads; a GPU has none. */
type Count = number | undefined;

function counts({ backend, threads }: BenchOptions): Count[] {
  if (backend === 'webgpu') return [undefined];
  return threads > 1 ? [1, threads] : [1];
}
