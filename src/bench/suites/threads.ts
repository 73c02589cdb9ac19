import { optionsOf, problemsOf } from '../options';
import { TIMING, timedSuite } from '../suite';

/** The share of the ideal speed-up that threads should reach. */
const EFFICIENCY = 0.95;

export const threadsSuite = timedSuite({
  name: 'threads',
  summary: 'what more threads bring over one',
  defaults: { n: [4096], d: [64], masks: ['full'], heads: 8, ...TIMING, repeats: 15 },
  ratio: 'speed-up over one thread',
  ratioOf: 'rate',
  groups: (options) =>
    problemsOf(options).map((problem) =>
      counts(options.threads).map((threads) => ({
        name: String(threads),
        label: threads === 1 ? '1 thread' : `${threads} threads`,
        threads,
        problem,
        narrow: optionsOf(problem),
        goal: threads > 1 ? { measure: 'ratio', atLeast: threads * EFFICIENCY } : undefined,
      })),
    ),
});

/** 1, 2, 4 ... up to `most`, which is always included. */
function counts(most: number): number[] {
  const powers = Array.from({ length: 8 }, (_, i) => 2 ** i).filter((count) => count < most);
  return [...powers, most];
}
