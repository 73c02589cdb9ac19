import { MASKS, type Problem } from '../problem';
import type { Goal } from '../report';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { shortSequences } from '../short-sequences';
import { type PlannedRow, timedSuite } from '../suite';

/** Round: multiples of the kernels' tiles of 24 queries and 336 keys, and a head dimension of 64. */
const ROUND = { n: [1008, 2016], d: 64 } as const;
const ODD = { n: [1000, 1021, 2001, 2047], d: [40, 80, 128, 256] } as const;
/** Of the useful GF/s of the nearest round shape. */
const GOAL = 0.85;
/** A batch of short sequences; the fewer keys, the more each costs beside its products. */
const SHORT = { name: 'short', sequences: 64, length: 64 } as const;
const SHORT_GOAL: Goal = { measure: 'peakShare', atLeast: 0.6 };

export const shapesSuite = timedSuite({
  name: 'shapes',
  summary:
    'head dimensions and lengths that are multiples of nothing and a batch of short sequences, beside the nearest round shape',
  defaults: { heads: 8, threads: 1, simd: undefined, repeats: 9, only: [] },
  ratio: 'useful GF/s over those of the nearest round shape',
  ratioOf: 'rate',
  names: () => [...ODD.d.map((d) => `d=${d}`), ...ODD.n.map((n) => `n=${n}`), SHORT.name],
  groups({ runtimes }, { heads, threads, simd }) {
    const contender = saccade(runtimes, runtimeOptions({ threads, simd }));
    const row = (name: string, n: number, d: number): PlannedRow => {
      const problem: Problem = { n, h: heads, d, mask: MASKS.full };
      return { name, label: name.replace('=', ' = '), contender, problem, simd };
    };
    const odd = (name: string, n: number, d: number): PlannedRow => ({
      ...row(name, n, d),
      goal: { measure: 'ratio', atLeast: GOAL },
    });
    const round = (n: number) => row(`round ${n}`, n, ROUND.d);
    const tokens = SHORT.sequences * SHORT.length;
    const short: PlannedRow = {
      name: SHORT.name,
      label: `${SHORT.sequences} sequences of ${SHORT.length}`,
      contender,
      problem: { n: tokens, h: heads, d: ROUND.d, mask: MASKS.full, operation: shortSequences(SHORT.length) },
      simd,
      goal: SHORT_GOAL,
    };
    return [
      ...ODD.d.map((d) => [round(2016), odd(`d=${d}`, 2016, d)]),
      ...ODD.n.map((n) => [round(nearest(n)), odd(`n=${n}`, n, ROUND.d)]),
      [round(ROUND.n[0]), short],
    ];
  },
});

function nearest(n: number): number {
  return ROUND.n.reduce((best, round) => (Math.abs(round - n) < Math.abs(best - n) ? round : best));
}
