import { availableParallelism } from 'node:os';
import { localLinear } from '../local-linear-operations';
import { optionsOf, type Problem, problemsOf } from '../problem';
import type { Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type PlannedRow, timedSuite } from '../suite';

const RIDGES = [10, 1];
/** 1.3 times the time of as much arithmetic of exact attention. */
const GOAL: Goal = { measure: 'ratio', atLeast: 1 / 1.3 };

/** Each problem beside exact attention. */
export const localLinearSuite = timedSuite({
  name: 'local-linear',
  summary: 'local linear attention beside exact attention of the same inputs',
  defaults: {
    n: [2048],
    d: [64],
    masks: ['full', 'causal'],
    heads: 8,
    threads: availableParallelism(),
    simd: undefined,
    repeats: 9,
    only: [],
  },
  ratio:
    'arithmetic a second over that of exact attention, where a pair counts (10 + 6 T) d operations with the T iterations that were taken, exact attention 4 d',
  ratioOf: 'rate',
  names: () => ['exact', ...RIDGES.map(nameOf)],
  groups({ runtimes }, options) {
    const { threads, simd } = options;
    const contender = saccade(runtimes, runtimeOptions({ threads, simd }));
    const row = (name: string, label: string, problem: Problem, goal?: Goal): PlannedRow => ({
      ...{ name, label, problem, simd, contender, goal, narrow: optionsOf(problem) },
    });
    return problemsOf(options).map((problem) => [
      row('exact', 'exact attention', problem),
      ...RIDGES.map((ridge) =>
        row(nameOf(ridge), `local linear, ridge ${ridge}`, { ...problem, operation: localLinear(ridge) }, GOAL),
      ),
    ]);
  },
});

function nameOf(ridge: number): string {
  return `ridge-${ridge}`;
}
