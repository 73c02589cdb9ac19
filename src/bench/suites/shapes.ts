import { MASKS, type Problem } from '../problem';
import { runtimeOptions } from '../runtimes';
import { saccade } from '../saccade';
import { type PlannedRow, timedSuite } from '../suite';

/** Round: multiples of the kernels' tiles of 24 queries and 336 keys, and a head dimension of 64. */
const ROUND = { n: [1008, 2016], d: 64 } as const;
const ODD = { n: [1000, 1021, 2001, 2047], d: [40, 80, 128, 256] } as const;
/** Of the useful GF/s of the nearest round shape. */
const GOAL = 0.85;

export const shapesSuite = timedSuite({
  name: 'shapes',
  summary: 'head dimensions and lengths that are multiples of nothing, beside the nearest round shape',
  defaults: { heads: 8, threads: 1, simd: undefined, repeats: 9, only: [] },
  ratio: 'useful GF/s over those of the nearest round shape',
  ratioOf: 'rate',
  names: () => [...ODD.d.map((d) => `d=${d}`), ...ODD.n.map((n) => `n=${n}`)],
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
    return [
      ...ODD.d.map((d) => [round(2016), odd(`d=${d}`, 2016, d)]),
      ...ODD.n.map((n) => [round(nearest(n)), odd(`n=${n}`, n, ROUND.d)]),
    ];
  },
});

function nearest(n: number): number {
  return ROUND.n.reduce((best, round) => (Math.abs(round - n) < Math.abs(best - n) ? round : best));
}
