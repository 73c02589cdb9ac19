/** States of the gated delta rule: slices of eight value columns, [d to sixes][8], which a task owns while it works. */
import { loadSlices, Problem, sixes, SLICE_ROWS, slicesOf, storeSlices } from './delta-chunk';
import { Operand, rowAddress, SLICE } from './layout';
import { bytesOf } from './storage';

/** Where a group of value columns begins, in slices. */
// @ts-ignore: decorator
@inline
export function firstSlice(p: Problem, group: i32): i32 {
  return (slicesOf(<i32>p.e) * group) / <i32>p.groups;
}

// @ts-ignore: decorator
@inline
export function stateSlice(p: Problem, place: i32, s: i32): usize {
  return <usize>p.work + ((<usize>(place * slicesOf(<i32>p.e) + s) * <usize>sixes(<i32>p.d)) << 5);
}

/** A task's slices of the given states [b, h, d, e], or of zeros if there are none, to working memory. */
export function openStates(p: Problem, given: Operand, place: i32, first: i32, past: i32): void {
  const h = <i32>p.h;
  const d = <i32>p.d;
  const rows = sixes(d);
  for (let s = first; s < past; s++) {
    const slice = stateSlice(p, place, s);
    if (given.address == 0) memory.fill(slice, 0, <usize>rows << 5);
    else loadSlices(given, place / h, place % h, 0, d, rows, s * SLICE, min(SLICE, <i32>p.e - s * SLICE), slice, 0);
  }
}

/** A slice to its columns of a contiguous tensor [b, h, d, e]. */
export function storeState(to: f64, dtype: i32, p: Problem, place: i32, s: i32, slice: usize): void {
  const d = <i32>p.d;
  const e = <i32>p.e;
  const at = <usize>(place * d) * <usize>e + <usize>(s * SLICE);
  const bytes = bytesOf(dtype);
  storeSlices(slice, 0, d, min(SLICE, e - s * SLICE), <usize>to + at * bytes, <usize>e * bytes, dtype);
}

/** A slice to its columns of the states that are kept. */
export function keepState(kept: Operand, p: Problem, place: i32, chunk: i32, s: i32, slice: usize): void {
  const to = rowAddress(kept, place * (<i32>p.chunks + 1) + chunk, 0, 0) + (<usize>s << 5);
  storeSlices(slice, 0, <i32>p.d, SLICE, to, <usize>kept.row << 2, 0);
}

/** Slices of a chunk's rows to their columns of what is kept of all. */
export function keepRows(
  kept: Operand,
  place: i32,
  token: i32,
  count: i32,
  first: i32,
  past: i32,
  slices: usize,
): void {
  const to = rowAddress(kept, place, token, 0) + (<usize>first << 5);
  storeSlices(slices, SLICE_ROWS, count, (past - first) * SLICE, to, <usize>kept.row << 2, 0);
}
