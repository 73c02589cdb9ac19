import { optionsOf, problemsOf } from '../options';
import { timedSuite } from '../suite';

const GOALS = { relaxed: 0.82, baseline: 0.8 } as const;
const BUILDS = Object.keys(GOALS) as (keyof typeof GOALS)[];

export const buildsSuite = timedSuite({
  name: 'builds',
  summary: 'the kernels with and without relaxed SIMD, each against the multiply-add peak of its own build',
  defaults: { n: [4096], d: [64], masks: ['full'], heads: 8, threads: 1, repeats: 9, only: [] },
  ratio: 'useful GF/s over those of the relaxed build',
  ratioOf: 'rate',
  groups: (options) =>
    problemsOf(options).map((problem) =>
      BUILDS.map((simd) => ({
        name: simd,
        label: `${simd} SIMD`,
        simd,
        problem,
        narrow: optionsOf(problem),
        goal: { measure: 'peakShare', atLeast: GOALS[simd] },
      })),
    ),
});
