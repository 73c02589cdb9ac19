import { availableParallelism } from 'node:os';
import { optionsOf, problemsOf } from '../problem';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { timedSuite } from '../suite';

/** Of the ideal speed-up, the share that threads should reach. */
const EFFICIENCY = 0.95;

export const threadsSuite = timedSuite({
  name: 'threads',
  summary: 'what more threads bring over one',
  defaults: {
    n: [4096],
    d: [64],
    masks: ['full'],
    heads: 8,
    threads: availableParallelism(),
    simd: undefined,
    repeats: 15,
    only: [],
  },
  ratio: 'speed-up over one thread',
  ratioOf: 'rate',
  names: ({ threads }) => counts(threads).map(nameOf),
  groups({ runtimes }, options) {
    const { threads, simd } = options;
    return problemsOf(options).map((problem) =>
      counts(threads).map((count) => ({
        name: nameOf(count),
        label: count === 1 ? '1 thread' : `${count} threads`,
        contender: saccade(runtimes, runtimeOptions({ threads: count, simd })),
        problem,
        simd,
        narrow: optionsOf(problem),
        goal: count > 1 ? { measure: 'ratio', atLeast: count * EFFICIENCY } : undefined,
      })),
    );
  },
});

/** 1, 2, 4 ... up to `most`, which is always among them. */
function counts(most: number): number[] {
  const powers = Array.from({ length: 8 }, (_, i) => 2 ** i).filter((count) => count < most);
  return [...powers, most];
}

function nameOf(count: number): string {
  return String(count);
}
