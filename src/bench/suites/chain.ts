import { chain, chainArithmetic, chainGradients, OPS } from '../chain-operations';
import { MASKS, type Operation } from '../problem';
import type { Goal } from '../report';
import { timedSuite } from '../suite';

/** Each chain, preceded by what it is compared with. */
const PAIRS: readonly (readonly [name: string, label: string, operation: Operation])[][] = [
  [
    ['arithmetic', 'one op on as many numbers', chainArithmetic(false)],
    ['chain', 'chain', chain(false)],
  ],
  [
    ['behind', 'behind a long op, one op on as many numbers', chainArithmetic(true)],
    ['queued', 'behind a long op, chain', chain(true)],
  ],
  [
    ['by-hand', 'gradients of the chain, by hand', chainGradients(false)],
    ['tape', 'gradients of the chain, by the tape', chainGradients(true)],
  ],
];
/** Milliseconds an op may cost beyond its arithmetic. */
const GOALS: Readonly<Record<string, Goal>> = {
  'chain-1': { measure: 'overhead', atMost: 0.003 },
  'queued-2': { measure: 'overhead', atMost: 0.005 },
  'tape-1': { measure: 'overhead', atMost: 0.002 },
};

/** For each number of threads a chain in each way, beside its arithmetic. */
export const chainSuite = timedSuite({
  name: 'chain',
  summary: `a chain of ${OPS} ops on 1024 numbers each: what an op costs beside its arithmetic, and what a tape adds`,
  defaults: { simd: undefined, repeats: 15, only: [] },
  measures: ['time', 'spread', 'rounds', 'overhead', 'error'],
  overheadOf: OPS,
  groups: () =>
    [1, 2].flatMap((threads) =>
      PAIRS.map((pair) =>
        pair.map(([kind, label, operation]) => ({
          name: `${kind}-${threads}`,
          label,
          threads,
          problem: { n: 1, h: 1, d: 1024, mask: MASKS.full, operation },
          hasPeak: false,
          goal: GOALS[`${kind}-${threads}`],
        })),
      ),
    ),
});
