import { availableParallelism } from 'node:os';
import { backward } from '../attention-operations';
import { decoding } from '../decode-operations';
import { localLinear } from '../local-linear-operations';
import type { Operation } from '../operation';
import { decodingParallax, parallaxForward, parallaxGradients } from '../parallax-operations';
import { MASKS, optionsOf, type Problem, problemsOf } from '../problem';
import type { Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type PlannedRow, timedSuite } from '../suite';

const RIDGES = [10, 1];
/** So many times the time of as much arithmetic of exact attention. */
const within = (most: number): Goal => ({ measure: 'ratio', atLeast: 1 / most });
const GOAL = within(1.3);
/** Of Parallax, with twice the arithmetic forward, 8 products for 5 backward: times of attention's. */
const FORWARD = within(2.1 / 2);
const BACKWARD = within(2.2 / 1.6);
const STEP = within(1.15 / 2);

const DECODING = { n: 16384, h: 8, d: 128, mask: MASKS.causal };
const PARALLAX = ['parallax', 'exact-backward', 'parallax-backward', 'exact-step', 'parallax-step'];

/** Each problem beside exact attention. */
export const localLinearSuite = timedSuite({
  name: 'local-linear',
  summary: 'local linear attention and Parallax beside exact attention of the same inputs',
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
    'arithmetic a second over that of exact attention, where a pair counts (10 + 6 T) d operations with the T iterations that were taken, exact attention 4 d and Parallax 8 d',
  ratioOf: 'rate',
  names: () => ['exact', ...RIDGES.map(nameOf), ...PARALLAX],
  groups({ runtimes }, options) {
    const { threads, simd } = options;
    const contender = saccade(runtimes, runtimeOptions({ threads, simd }));
    const row = (name: string, label: string, problem: Problem, goal?: Goal): PlannedRow => ({
      ...{ name, label, problem, simd, contender, goal, narrow: optionsOf(problem) },
    });
    const step = (name: string, label: string, operation: Operation, goal?: Goal): PlannedRow => ({
      ...{ name, label, problem: { ...DECODING, operation }, simd, contender, goal },
    });
    const groups = problemsOf(options).map((problem) => [
      row('exact', 'exact attention', problem),
      ...RIDGES.map((ridge) =>
        row(nameOf(ridge), `local linear, ridge ${ridge}`, { ...problem, operation: localLinear(ridge) }, GOAL),
      ),
      row('parallax', 'Parallax', { ...problem, operation: parallaxForward }, FORWARD),
    ]);
    const backwards = problemsOf(options).map((problem) => [
      row('exact-backward', 'exact attention, backward', { ...problem, operation: backward }),
      row('parallax-backward', 'Parallax, backward', { ...problem, operation: parallaxGradients }, BACKWARD),
    ]);
    const steps = [
      step('exact-step', 'exact attention, a step from the cache', decoding({ name: 'one query', dtype: 'f32' })),
      step('parallax-step', 'Parallax, a step from the cache', decodingParallax, STEP),
    ];
    return [...groups, ...backwards, steps];
  },
});

function nameOf(ridge: number): string {
  return `ridge-${ridge}`;
}
