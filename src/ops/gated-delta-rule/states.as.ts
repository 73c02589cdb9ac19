/** States of the gated delta rule: slices of eight value columns, [d][8], which a task owns while it works. */
import { loadSlices, Share, sixes, SLICE_ROWS, slicesOf, storeSlices } from './chunk.as';
import { rowAddress } from '../../runtime/wasm/assembly/layout.as';
import { Operand, SLICE } from '../../runtime/wasm/params.generated.as';
import { bytesOf } from '../../runtime/wasm/assembly/storage.as';
import { Problem } from './params.generated.as';

/** A slice in working memory: before it zeros up to sixes of rows, after it room for the tokens of a chunk. */
export function stateSlice(p: Problem, place: i32, s: i32): usize {
  const rows = sixes(p.d);
  const slice = <usize>(place * slicesOf(p.e) + s) * <usize>(rows + p.length);
  return p.work + ((slice + <usize>(rows - p.d)) << 5);
}

/** A task's slices of the given states [b, h, d, e], or of zeros if there are none, to working memory. */
export function openStates(p: Problem, given: Operand, share: Share): void {
  const h = p.h;
  const d = p.d;
  const zeros = <usize>(sixes(d) - d) << 5;
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
  const d = p.d;
  const e = p.e;
  const bytes = bytesOf(dtype);
  for (let place = share.firstHead; place < share.pastHead; place++) {
    for (let s = share.firstSlice; s < share.pastSlice; s++) {
      const at = to + (<usize>(place * d) * <usize>e + <usize>(s * SLICE)) * bytes;
      storeSlices(stateSlice(p, place, s), 0, d, min(SLICE, e - s * SLICE), at, <usize>e * bytes, dtype);
    }
  }
}

/** A slice to its columns of the states that are kept. */
export function keepState(kept: Operand, p: Problem, place: i32, chunk: i32, s: i32): void {
  const to = rowAddress(kept, place * (p.chunks + 1) + chunk, 0, 0) + (<usize>s << 5);
  storeSlices(stateSlice(p, place, s), 0, p.d, SLICE, to, kept.row << 2, 0);
}

/** Slices of a chunk's rows to their columns of what is kept of all. */
export function keepRows(kept: Operand, place: i32, token: i32, count: i32, share: Share, slices: usize): void {
  const to = rowAddress(kept, place, token, 0) + (<usize>share.firstSlice << 5);
  const columns = (share.pastSlice - share.firstSlice) * SLICE;
  storeSlices(slices, SLICE_ROWS, count, columns, to, kept.row << 2, 0);
}
