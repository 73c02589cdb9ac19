/** Masks as lists of slices: rectangles of queries and keys, each seen whole or up to a diagonal. */
import { ParameterError, ShapeError } from '../errors';
import { joinIntervals } from './intervals';
import type { Extent, Intervals, Mask } from './mask';

/** `causal` leaves out what is above the diagonal to the last corner, `inverse` what is below that from the first. */
const SLICE_KINDS = ['full', 'causal', 'inverse', 'bicausal'] as const;
export type SliceKind = (typeof SLICE_KINDS)[number];

/** Queries and keys from a first to before a last. */
export interface Slice {
  readonly queries: readonly [first: number, past: number];
  readonly keys: readonly [first: number, past: number];
  readonly kind: SliceKind;
}

/** The keys that query i, one of the slice's, sees: the first and one past the last, not before it. */
export function sliceKeys({ queries, keys, kind }: Slice, i: number): [start: number, end: number] {
  const [first, past] = keys;
  const start = kind === 'full' || kind === 'causal' ? first : first + i - queries[0];
  const end = kind === 'full' || kind === 'inverse' ? past : past - (queries[1] - 1 - i);
  const from = Math.min(start, past);
  return [from, Math.max(end, from)];
}

/** Number of pairs that the slice sees. */
export function sliceArea({ queries, keys, kind }: Slice): number {
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
  slices.forEach(checkSlice);
  const own = slices.map((slice) => ({ ...slice }));
  const past = (side: 'queries' | 'keys') => own.reduce((most, slice) => Math.max(most, slice[side][1]), 0);
  const least = { n: past('queries'), m: past('keys') };
  const name = `${own.length} slices`;
  return {
    name,
    sees(i, j) {
      const last = own.filter(({ queries, keys }) => within(queries, i) && within(keys, j)).at(-1);
      return last !== undefined && within(sliceKeys(last, i), j);
    },
    intervals(i) {
      let seen: Intervals = [];
      for (const slice of own) {
        if (!within(slice.queries, i)) continue;
        seen = joinIntervals(seen, slice.keys, (before, here) => before && !here);
        const [start, end] = sliceKeys(slice, i);
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

function checkSlice({ queries, keys, kind }: Slice, at: number): void {
  for (const [side, [first, past]] of [['queries', queries] as const, ['keys', keys] as const]) {
    if (Number.isSafeInteger(first) && Number.isSafeInteger(past) && 0 <= first && first < past) continue;
    throw new ParameterError(
      `${side} of slice ${at} must be [first, past] with 0 <= first < past, got [${first}, ${past}]`,
    );
  }
  if (!SLICE_KINDS.includes(kind)) {
    throw new ParameterError(`kind of slice ${at} must be one of ${SLICE_KINDS.join(', ')}, got ${kind}`);
  }
}

function within([first, past]: readonly [number, number], at: number): boolean {
  return first <= at && at < past;
}
