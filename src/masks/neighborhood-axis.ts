/**
 * One axis of neighborhood attention on a grid: the window of keys that a query's coordinate sees. The mask of a grid
 * is the conjunction of its axes'.
 *
 * With dilation d, coordinates of the same remainder modulo d form a group; coordinate x has index floor(x / d) in it,
 * and a query sees keys of its own group only. With stride s, s consecutive queries of a group share the window of one
 * of them, their leader. Windows are moved into the axis, never cut, unless they are causal.
 *
 * Sources: Hassani et al. 2024, arXiv 2403.04690; the stride: Hassani et al. 2025, arXiv 2504.16922.
 */
import { show } from '../check';
import { ParameterError } from '../errors';

/** Tokens of the longest axis: more than any grid has, but few enough to loop over. */
const LONGEST = 2 ** 20;

export interface NeighborhoodAxis {
  /** Extent of the axis, in tokens. */
  readonly length: number;
  /** Keys seen along the axis, at least 2. */
  readonly window: number;
  /** Consecutive queries that share a window: from 1 (sliding) to `window` (blocked). */
  readonly stride: number;
  /** Distance between neighbouring keys; `window * dilation` is at most `length`. */
  readonly dilation: number;
  readonly causal: boolean;
}

/** The keys `first`, `first + step`, ...: `count` coordinates. */
export interface AxisKeys {
  readonly first: number;
  readonly count: number;
  readonly step: number;
}

/** The keys that the query at coordinate `x` sees. */
export function axisKeys(axis: NeighborhoodAxis, x: number): AxisKeys {
  const { dilation } = axis;
  const group = x % dilation;
  const [start, end] = groupWindow(axis, Math.floor(x / dilation), groupLength(axis, group));
  return { first: start * dilation + group, count: end - start, step: dilation };
}

/** Tokens of dilation group `group`. */
export function groupLength({ length, dilation }: NeighborhoodAxis, group: number): number {
  return Math.ceil((length - group) / dilation);
}

/** The window of query `index` in a group of `length` tokens, in indices of the group: first key and one past the last. */
export function groupWindow(
  { window, stride, causal }: NeighborhoodAxis,
  index: number,
  length: number,
): readonly [start: number, end: number] {
  const leader = groupLeader(index, stride, causal, length);
  if (causal) return [Math.max(leader - window + 1, 0), index + 1];
  const start = Math.min(Math.max(leader - Math.floor(window / 2), 0), length - window);
  return [start, start + window];
}

/** The last query of a stride group if causal, else the middle one: of an even stride the right-hand one. */
function groupLeader(index: number, stride: number, causal: boolean, length: number): number {
  const within = causal ? stride - 1 : Math.floor(stride / 2);
  return Math.min(Math.floor(index / stride) * stride + within, length - 1);
}

/** Throws a ParameterError unless the window, stride, dilation and causality of axis number `at` fit each other and its length. */
export function checkNeighborhoodAxis(
  { length, window, stride, dilation, causal }: NeighborhoodAxis,
  at: number,
): void {
  const check = (name: string, value: number, least: number, most: number, reason: string) => {
    if (Number.isSafeInteger(value) && value >= least && value <= most) return;
    const range = least === most ? least : `an integer from ${least} to ${most}`;
    throw new ParameterError(`${name} on axis ${at} must be ${range}${reason}, got ${show(value)}`);
  };
  check('length of the grid', length, 2, LONGEST, '');
  check('window', window, 2, length, ', the length of the grid');
  check('stride', stride, 1, window, ', the window');
  const widest = Math.floor(length / window);
  check('dilation', dilation, 1, widest, `, since a window of ${window} must fit into ${length}`);
  if (typeof causal !== 'boolean')
    throw new ParameterError(`causal on axis ${at} must be true or false, got ${show(causal)}`);
}
