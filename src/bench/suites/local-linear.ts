import { backward } from '../attention-operations';
import { decoding } from '../decode-operations';
import { localLinear } from '../local-linear-operations';
import { optionsOf, problemsOf } from '../options';
import { decodingParallax, parallaxForward, parallaxGradients } from '../parallax-operations';
import { MASKS, type Operation, type Problem } from '../problem';
import type { Goal } from '../report';
import { type PlannedRow, TIMING, timedSuite } from '../suite';

const RIDGES = [10, 1];
/** At most so many times the time of as much arithmetic of exact attention. */
const within = (most: number): Goal => ({ measure: 'ratio', atLeast: 1 / most });
const GOAL = within(1.3);
/** Parallax, with twice the arithmetic forward, 8 products for 5 backward: times of attention's. */
const FORWARD = within(2.1 / 2);
const BACKWARD = within(2.2 / 1.6);
const STEP = within(1.15 / 2);

const DECODING = { n: 16384, h: 8, d: 128, mask: MASKS.causal };

/** Each problem beside exact attention. */
export const localLinearSuite = timedSuite({
  name: 'local-linear',
  summary: 'local linear attention and Parallax beside exact attention of the same inputs',
  defaults: { n: [2048], d: [64], masks: ['full', 'causal'], heads: 8, ...TIMING },
  ratio:
    'arithmetic a second over that of exact attention, where a pair counts (10 + 6 T) d operations with the T iterations that were taken, exact attention 4 d and Parallax 8 d',
  ratioOf: 'rate',
  groups(options) {
    const problems = problemsOf(options);
    const row = (problem: Problem, name: string, label: string, operation?: Operation, goal?: Goal): PlannedRow => ({
      name,
      label,
      problem: operation ? { ...problem, operation } : problem,
      goal,
      narrow: optionsOf(problem),
    });
    const step = (name: string, label: string, operation: Operation, goal?: Goal): PlannedRow => ({
      name,
      label,
      problem: { ...DECODING, operation },
      goal,
    });
    return [
      ...problems.map((problem) => [
        row(problem, 'exact', 'exact attention'),
        ...RIDGES.map((ridge) =>
          row(problem, `ridge-${ridge}`, `local linear, ridge ${ridge}`, localLinear(ridge), GOAL),
        ),
        row(problem, 'parallax', 'Parallax', parallaxForward, FORWARD),
      ]),
      ...problems.map((problem) => [
        row(problem, 'exact-backward', 'exact attention, backward', backward),
        row(problem, 'parallax-backward', 'Parallax, backward', parallaxGradients, BACKWARD),
      ]),
      [
        step('exact-step', 'exact attention, a step from the cache', decoding({ name: 'one query', dtype: 'f32' })),
        step('parallax-step', 'Parallax, a step from the cache', decodingParallax, STEP),
      ],
    ];
  },
});
