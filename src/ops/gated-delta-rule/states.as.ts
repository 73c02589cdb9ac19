/** States of the gated delta rule: slices of eight value columns, [d][8], which a task owns while it works. */
import { inPanels, Share, SLICE_ROWS, slicesOf } from './memory.as';
import { loadSlices, storeSlices } from './slices.as';
import { rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { F32, Operand, SLICE } from '../../runtime/cpu/params.generated.as';
import { bytesOf } from '../../runtime/wasm/assembly/storage.as';
import { Problem } from './params.generated.as';

/** A slice in working memory: before it zeros up to whole panels of rows, after it room for the tokens of a chunk. */
export function stateSlice(p: Problem, place: i32, s: i32): usize {
  const rows = inPanels(p.d);
  const slice = <usize>(place * slicesOf(p.e) + s) * <usize>(rows + p.length);
  return p.work + ((slice + <usize>(rows - p.d)) << 5);
}

/** A task's slices of the given states [b, h, d, e], or of zeros if there are none, to working memory. */
export function loadStates(p: Problem, given: Operand, share: Share): void {
  const h = p.h;
  const d = p.d;
  const zeros = <usize>(inPanels(d) - d) << 5;
  for (let place = share.firstHead; place < share.pastHead; place++) {
    for (let s = share.firstSlice; s < share.pastSlice; s++) {
      const slice = stateSlice(p, place, s);
      const columns = min(SLICE, p.e - s * SLICE);
      memory.fill(slice - zeros, 0, zeros);
      if (given.address == 0) memory.fill(slice, 0, <usize>d << 5);
      else loadSlices(given, place / h, place % h, 0, d, d, s * SLICE, columns, slice, 0);
    }
  }
}

/** A task's slices to their columns of a contiguous tensor [b, h, d, e]. */
export function storeStates(p: Problem, to: usize, dtype: i32, share: Share): void {
  for (let place = share.firstHead; place < share.pastHead; place++) storeState(p, place, place, to, dtype, share);
}

/** Those of one head to its columns of the matrix number `at` of a contiguous tensor. */
function storeState(p: Problem, place: i32, at: i32, to: usize, dtype: i32, share: Share): void {
  const d = p.d;
  const e = p.e;
  const bytes = bytesOf(dtype);
  for (let s = share.firstSlice; s < share.pastSlice; s++) {
    const columns = to + (<usize>(at * d) * <usize>e + <usize>(s * SLICE)) * bytes;
    storeSlices(stateSlice(p, place, s), 0, d, min(SLICE, e - s * SLICE), columns, <usize>e * bytes, dtype);
  }
}

/** The state of one head before the token, to its place in [b, times, h, d, e], if it is one of those wanted. */
export function storeBefore(p: Problem, t: Share, to: usize): void {
  if (to != 0 && t.token % p.every == 0) storeState(p, t.place, slotOf(p, t), to, F32, t);
}

/** Adds what lies in its place in [b, times, h, d, e] to the gradient with respect to the state before the token. */
export function addBefore(p: Problem, t: Share, from: usize): void {
  if (from == 0 || t.token % p.every != 0) return;
  const e = p.e;
  const matrix = from + ((<usize>(slotOf(p, t) * p.d) * <usize>e) << 2);
  for (let s = t.firstSlice; s < t.pastSlice; s++) {
    const columns = min(SLICE, e - s * SLICE);
    let to = stateSlice(p, t.place, s);
    let row = matrix + (<usize>(s * SLICE) << 2);
    for (let r: i32 = 0; r < p.d; r++, to += 32, row += <usize>e << 2) {
      for (let c: usize = 0; c < <usize>columns << 2; c += 4) f32.store(to + c, f32.load(to + c) + f32.load(row + c));
    }
  }
}

/** Which matrix of [b, times, h, d, e]. */
function slotOf(p: Problem, t: Share): i32 {
  const times = (p.n + p.every - 1) / p.every;
  return (t.batch * times + t.token / p.every) * p.h + t.head;
}

/** A slice to its columns of the states that are kept. */
export function keepState(kept: Operand, p: Problem, place: i32, chunk: i32, s: i32): void {
  const to = rowAddress(kept, place * (p.chunks + 1) + chunk, 0, 0) + (<usize>s << 5);
  storeSlices(stateSlice(p, place, s), 0, p.d, SLICE, to, kept.row << 2, 0);
}

/** Slices of a chunk's rows to their columns of what is kept of all. */
export function keepRows(kept: Operand, t: Share, slices: usize): void {
  const to = rowAddress(kept, t.place, t.token, 0) + (<usize>t.firstSlice << 5);
  const columns = (t.pastSlice - t.firstSlice) * SLICE;
  storeSlices(slices, SLICE_ROWS, t.count, columns, to, kept.row << 2, 0);
}
