import { MASKS } from '../problem';
import type { Goal } from '../report';
import { shortSequences } from '../short-sequences';
import { type PlannedRow, timedSuite } from '../suite';

/** Round shapes: multiples of the kernels' tiles of 24 queries and 336 keys, and a head dimension of 64. */
const ROUND = { n: [1008, 2016], d: 64 } as const;
const ODD = { n: [1000, 1021, 2001, 2047], d: [40, 80, 128, 256] } as const;
/** A share of the useful GF/s of the nearest round shape. */
const GOAL: Goal = { measure: 'ratio', atLeast: 0.85 };
/** A batch of short sequences: the fewer keys, the larger the share of everything but products. */
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
  groups({ heads }) {
    const row = (name: string, n: number, d: number, goal?: Goal): PlannedRow => ({
      name,
      label: name.replace('=', ' = '),
      problem: { n, h: heads, d, mask: MASKS.full },
      goal,
    });
    const round = (n: number) => row(`round ${n}`, n, ROUND.d);
    const short: PlannedRow = {
      name: SHORT.name,
      label: `${SHORT.sequences} sequences of ${SHORT.length}`,
      problem: {
        n: SHORT.sequences * SHORT.length,
        h: heads,
        d: ROUND.d,
        mask: MASKS.full,
        operation: shortSequences(SHORT.length),
      },
      goal: SHORT_GOAL,
    };
    return [
      ...ODD.d.map((d) => [round(2016), row(`d=${d}`, 2016, d, GOAL)]),
      ...ODD.n.map((n) => [round(nearest(n)), row(`n=${n}`, n, ROUND.d, GOAL)]),
      [round(ROUND.n[0]), short],
    ];
  },
});

function nearest(n: number): number {
  return ROUND.n.reduce((best, round) => (Math.abs(round - n) < Math.abs(best - n) ? round : best));
}
