/** Masks as lists of slices: rectangles of queries and keys, each seen whole or up to a diagonal. */
import { checkArray, checkKnown, checkWhole, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { Intervals } from './intervals';
import { joinIntervals } from './intervals';
import type { Extent, Mask } from './mask';

/** `causal` leaves out what is above the diagonal to the last corner, `inverse` what is below that from the first. */
const SLICE_KINDS = ['full', 'causal', 'inverse', 'bicausal'] as const;
export type SliceKind = (typeof SLICE_KINDS)[number];

/** A range of queries and a range of keys. */
export interface Slice {
  readonly queries: readonly [first: number, past: number];
  readonly keys: readonly [first: number, past: number];
  readonly kind: SliceKind;
}

/** The keys that query i, one of the slice's, sees: the first and one past the last, not before it. */
export function sliceKeys(slice: Slice, i: number): [start: number, end: number] {
  checkSlice(slice, 'slice');
  checkWhole('i', i, slice.queries[0], slice.queries[1] - 1);
  return keysOf(slice, i);
}

function keysOf({ queries, keys, kind }: Slice, i: number): [start: number, end: number] {
  const [first, past] = keys;
  const start = kind === 'full' || kind === 'causal' ? first : first + i - queries[0];
  const end = kind === 'full' || kind === 'inverse' ? past : past - (queries[1] - 1 - i);
  const from = Math.min(start, past);
  return [from, Math.max(end, from)];
}

/** Number of pairs that the slice sees. */
export function sliceArea(slice: Slice): number {
  checkSlice(slice, 'slice');
  const { queries, keys, kind } = slice;
  const [n, m] = [queries[1] - queries[0], keys[1] - keys[0]];
  if (kind === 'full') return n * m;
  if (kind === 'bicausal') return n * Math.max(0, m - n + 1);
  const lines = Math.min(n, m);
  return ((2 * m - lines + 1) * lines) / 2;
}

/**
 * The mask that a list of slices paints, each over what those before it left in its rectangle.
 * Source: LongCA-bench, arXiv 2510.17896.
 */
export function fromSlices(slices: readonly Slice[]): Mask {
  checkArray('slices', slices);
  for (const [at, slice] of slices.entries()) checkSlice(slice, `slice ${at}`);
  const own = slices.map((slice) => ({ ...slice }));
  const past = (side: 'queries' | 'keys') => own.reduce((most, slice) => Math.max(most, slice[side][1]), 0);
  const least = { n: past('queries'), m: past('keys') };
  const name = `${own.length} slices`;
  return {
    name,
    sees(i, j) {
      const last = own.filter(({ queries, keys }) => within(queries, i) && within(keys, j)).at(-1);
      return last !== undefined && within(keysOf(last, i), j);
    },
    intervals(i) {
      let seen: Intervals = [];
      for (const slice of own) {
        if (!within(slice.queries, i)) continue;
        seen = joinIntervals(seen, slice.keys, (before, here) => before && !here);
        const [start, end] = keysOf(slice, i);
        if (start < end) seen = joinIntervals(seen, [start, end], (before, here) => before || here);
      }
      return seen;
    },
    check({ n, m }: Extent) {
      if (least.n <= n && least.m <= m) return;
      throw new ShapeError(
        `mask "${name}" needs at least ${least.n} queries and ${least.m} keys, got ${n} queries and ${m} keys`,
      );
    },
  };
}

function checkSlice(slice: Slice, what: string): void {
  checkKnown(what, slice, ['queries', 'keys', 'kind'], (name) => `${what} has no '${name}'`);
  const { queries, keys, kind } = slice;
  for (const [side, range] of [['queries', queries] as const, ['keys', keys] as const]) {
    const [first, past] = Array.isArray(range) ? (range as [number, number]) : [-1, -1];
    if (Number.isSafeInteger(first) && Number.isSafeInteger(past) && 0 <= first && first < past) continue;
    throw new ParameterError(`${side} of ${what} must be [first, past] with 0 <= first < past, got ${show(range)}`);
  }
  if (!SLICE_KINDS.includes(kind)) {
    throw new ParameterError(`kind of ${what} must be one of ${SLICE_KINDS.join(', ')}, got ${show(kind)}`);
  }
}

function within([first, past]: readonly [number, number], at: number): boolean {
  return first <= at && at < past;
}
