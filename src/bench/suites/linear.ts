import { causalLinear, decodeStep, deltaRule, stateCopy } from '../linear-operations';
import type { BenchOptions } from '../options';
import { MASKS, type Operation } from '../problem';
import type { Goal } from '../report';
import { type PlannedRow, TIMING, timedSuite } from '../suite';

const D = 64;
/** Time a token, over that of the shortest. */
const FLAT: Goal = { measure: 'ratio', atLeast: 0.9, atMost: 1.1 };
const PEAK: Goal = { measure: 'peakShare', atLeast: 0.65 };

/** Lengths beside exact causal attention, of which the last should be where linear attention is at least as fast. */
const CROSSOVER = [128, 256, 512];
const CROSSED: Goal = { measure: 'ratio', atLeast: 1 };

/** Twice the tokens of twice the heads. */
const HALF: Goal = { measure: 'ratio', atLeast: 1.9 };
/** With all threads: the states at the start of a head's segments are computed first. */
const ONE_HEAD: Goal = { measure: 'peakShare', atLeast: 0.5 };
const CHUNKED: Goal = { measure: 'ratio', atLeast: 4 };

const DECODED = { h: 32, d: 128 };
/** A share of the bytes a second of a copy. */
const BANDWIDTH: Goal = { measure: 'ratio', atLeast: 0.6 };

/** Each group with its own baseline. */
export const linearSuite = timedSuite({
  name: 'linear',
  summary:
    'causal linear attention by length, beside exact attention and by threads; a decode step; the gated delta rule',
  defaults: { n: [1024, 4096, 16384, 65536, 131072], heads: 8, ...TIMING },
  measures: ['time', 'spread', 'rounds', 'ratio', 'rate', 'peakShare', 'working', 'memory', 'error'],
  ratio:
    'tokens a millisecond over those of the first of the rows measured in turns: a speed-up; of a decode step the share of the memory bandwidth, which a copy of as many bytes on one thread shows',
  ratioOf: 'tokens',
  groups: (options) =>
    groupsOf(options).map((group) =>
      group.map(({ n, h, d = D, operation, ...row }) => ({
        ...row,
        problem: { n, h, d, mask: MASKS.causal, ...(operation && { operation }) },
      })),
    ),
});

interface Row extends Pick<PlannedRow, 'name' | 'label' | 'goal' | 'threads'> {
  readonly n: number;
  readonly h: number;
  readonly d?: number;
  /** Default: exact attention. */
  readonly operation?: Operation;
}

function groupsOf({ n, heads: h, threads }: BenchOptions): readonly (readonly Row[])[] {
  const longest = Math.max(...n);
  const linear = { label: 'linear attention', operation: causalLinear, h };
  const alone = { ...linear, n: Math.ceil(longest / 2), h: 1 };
  const half = Math.ceil(h / 2);
  const middle = { ...linear, n: Math.ceil(longest / 16) };
  const delta = { n: Math.ceil(longest / 32), h };
  const decoded = { threads: 1, n: 1, ...DECODED };
  const once = (rows: readonly Row[]) => (threads > 1 ? rows : rows.slice(0, 1));
  return [
    n.map((length, at) => ({
      ...linear,
      name: `linear-${length}`,
      n: length,
      goal: at === 0 ? workingGoal(h) : FLAT,
    })),
    once([
      { ...middle, name: 'forward-1-thread', label: 'linear attention, 1 thread', threads: 1, goal: PEAK },
      { ...middle, name: 'forward', label: `linear attention, ${threads} threads`, goal: PEAK },
    ]),
    once([
      { ...alone, name: 'head-1-thread', label: 'one head, 1 thread', threads: 1, goal: workingGoal(1) },
      { ...alone, name: 'head', label: `one head, ${threads} threads`, goal: ONE_HEAD },
    ]),
    [
      { ...middle, name: 'heads', label: `${h} heads, 1 thread`, threads: 1 },
      { ...middle, name: 'half-heads', label: `${half} heads, 1 thread`, threads: 1, h: half, goal: HALF },
    ],
    ...CROSSOVER.map((length) => [
      { name: `exact-${length}`, label: 'exact attention', n: length, h },
      {
        ...linear,
        name: `beside-exact-${length}`,
        n: length,
        ...(length === CROSSOVER.at(-1) && { goal: CROSSED }),
      },
    ]),
    [
      { ...decoded, name: 'copy', label: 'copying the state', operation: stateCopy },
      { ...decoded, name: 'step', label: 'decode step', operation: decodeStep, goal: BANDWIDTH },
    ],
    [
      { ...delta, name: 'delta-recurrent', label: 'delta rule, token by token', operation: deltaRule('recurrent') },
      { ...delta, name: 'delta', label: 'delta rule, chunked', operation: deltaRule('chunked'), goal: CHUNKED },
    ],
  ];
}

/** Independent of n: two states for each head, or for 8 where there are fewer heads and rows are split instead. */
function workingGoal(h: number): Goal {
  return { measure: 'working', atMost: 2 * Math.max(8, h) * D * D * 4 };
}
