import { ShapeError, UnsupportedError } from '../errors';
import { checkMask, checkPlace } from './check';
import type { Intervals } from './intervals';
import { joinIntervals } from './intervals';
import { keyWords } from './key-words';
import type { Mask, Place } from './mask';

/**
 * For each key j the queries that do not see it: from `lts` to before `lte` on and below the diagonal, from `uts` to
 * before `ute` above it. Where there are none, both are n below and 0 above.
 */
export interface FlashMaskColumns {
  readonly lts: Int32Array;
  readonly lte: Int32Array;
  readonly uts: Int32Array;
  readonly ute: Int32Array;
}

/**
 * The mask column by column, in memory linear in n: FlashMask's form, in its non-causal layout of four columns.
 * Throws an UnsupportedError if the form cannot hold the mask, whose columns may have one gap on each side of the
 * diagonal.
 * Source: Wang et al. 2024, arXiv 2410.01359.
 */
export function flashMaskColumns(mask: Mask, place: Place): FlashMaskColumns {
  checkMask('mask', mask);
  checkPlace(place);
  const { n, m } = place;
  if (n !== m) throw new ShapeError(`FlashMask needs as many queries as keys, got ${n} queries and ${m} keys`);
  const columns = {
    lts: new Int32Array(n).fill(n),
    lte: new Int32Array(n).fill(n),
    uts: new Int32Array(n),
    ute: new Int32Array(n),
  };
  const openSince = new Int32Array(n).fill(-1);
  const close = (key: number, end: number) => {
    const start = openSince[key] as number;
    openSince[key] = -1;
    if (start < key) addGap(mask, columns.uts, columns.ute, key, start, Math.min(end, key));
    if (end > key) addGap(mask, columns.lts, columns.lte, key, Math.max(start, key), end);
  };
  let hidden: Intervals = [];
  for (let i = 0; i < n; i++) {
    const now = joinIntervals([0, n], intervalsAt(mask, i, place), (every, seen) => every && !seen);
    forEachKey(
      joinIntervals(hidden, now, (a, b) => a !== b),
      (key) => {
        if (openSince[key] === -1) openSince[key] = i;
        else close(key, i);
      },
    );
    hidden = now;
  }
  forEachKey(hidden, (key) => close(key, n));
  return columns;
}

function addGap(mask: Mask, starts: Int32Array, ends: Int32Array, key: number, start: number, end: number): void {
  if (starts[key] !== ends[key]) {
    const side = start < key ? 'above' : 'below';
    throw new UnsupportedError(
      `FlashMask holds one gap in a column on each side of the diagonal, but mask "${mask.name}" has more ${side} it at key ${key}`,
    );
  }
  starts[key] = start;
  ends[key] = end;
}

/** The keys of one query of any mask. */
function intervalsAt(mask: Mask, i: number, place: Place): Intervals {
  return mask.intervals?.(i, place) ?? keyWords(mask, [i], place).starts;
}

function forEachKey(intervals: Intervals, visit: (key: number) => void): void {
  for (let at = 0; at < intervals.length; at += 2) {
    for (let key = intervals[at] as number; key < (intervals[at + 1] as number); key++) visit(key);
  }
}
