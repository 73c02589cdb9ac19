/** Slices of eight columns of a chunk's tokens, and of the state: loaded, multiplied, solved for and stored. */
import { rowAddress, rowBytes } from '../../runtime/wasm/assembly/layout.as';
import { ADD, DECAY_ADD, product, STORE } from '../../runtime/wasm/assembly/product.as';
import { bytesOf, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { madd } from '../../runtime/wasm/assembly/vector.as';
import { Contiguous, Operand, SLICE } from '../../runtime/cpu/params.generated.as';
import { inPanels, PANEL_ROWS, PANEL_SLICE, ROW, Share, SIX_FACTORS, SLICE_ROWS } from './memory.as';
import { Problem } from './params.generated.as';

/**
 * `columns` columns from `column` on of `count` rows, as slices [rows][8] that lie `sliceBytes` apart, zero where the
 * columns or the rows, `padded` of them, end.
 */
export function loadSlices(
  x: Operand,
  batch: i32,
  head: i32,
  first: i32,
  count: i32,
  padded: i32,
  column: i32,
  columns: i32,
  to: usize,
  sliceBytes: usize,
): void {
  const dtype = x.dtype;
  const step = x.element * bytesOf(dtype);
  const isPlain = bytesOf(dtype) == 4 && step == 4;
  const rowStep = rowBytes(x);
  let from = rowAddress(x, batch, first, head) + <usize>column * step;
  for (let r: i32 = 0; r < padded; r++, to += 32, from += rowStep) {
    let row = from;
    let at = to;
    for (let left = columns; left > 0; left -= SLICE, row += <usize>SLICE * step, at += sliceBytes) {
      if (r < count && left >= SLICE && isPlain) {
        v128.store(at, v128.load(row));
        v128.store(at, v128.load(row, 16), 16);
        continue;
      }
      v128.store(at, f32x4.splat(0));
      v128.store(at, f32x4.splat(0), 16);
      if (r >= count) continue;
      const width = min(SLICE, left);
      const source = loadRow(row, x.element, dtype, width, at);
      if (source != at) memory.copy(at, source, <usize>width << 2);
    }
  }
}

/** Slices as `loadSlices` gives them, to rows `rowBytes` apart. */
export function storeSlices(
  from: usize,
  sliceBytes: usize,
  count: i32,
  columns: i32,
  to: usize,
  rowBytes: usize,
  dtype: i32,
): void {
  const pieceBytes = <usize>SLICE * bytesOf(dtype);
  for (let r: i32 = 0; r < count; r++, from += 32, to += rowBytes) {
    let piece = from;
    let at = to;
    for (let left = columns; left > 0; left -= SLICE, piece += sliceBytes, at += pieceBytes) {
      if (left >= SLICE && pieceBytes == 32) {
        v128.store(at, v128.load(piece));
        v128.store(at, v128.load(piece, 16), 16);
      } else storeRow(piece, at, dtype, min(SLICE, left));
    }
  }
}

/** Columns of the chunk's tokens as slices. */
export function loadTokens(t: Share, x: Operand, column: i32, columns: i32, to: usize, sliceBytes: usize): void {
  loadSlices(x, t.batch, t.head, t.token, t.count, t.padded, column, columns, to, sliceBytes);
}

/** Slices of the chunk's tokens to a contiguous tensor [b, n, h, width], from `column` on. */
export function storeTokens(p: Problem, t: Share, from: usize, columns: i32, to: Contiguous, width: i32, column: i32): void {
  const bytes = bytesOf(to.dtype);
  const at = to.address + (t.row * <usize>width + <usize>column) * bytes;
  storeSlices(from, SLICE_ROWS, t.count, columns, at, <usize>(p.h * width) * bytes, to.dtype);
}

/** A slice of a state times the decay of a chunk, plus features [d][48] times numbers of the tokens, [48][8]. */
export function advance(state: usize, d: i32, decay: f32, features: usize, b: usize, depth: i32, scratch: usize): void {
  const factors = scratch + SIX_FACTORS;
  v128.store(factors, f32x4.splat(decay));
  v128.store64_lane(factors, f32x4.splat(decay), 0, 16);
  const zeros = <usize>(inPanels(d) - d);
  let a = features - zeros * ROW;
  const end = state + (<usize>d << 5);
  for (let six = state - (zeros << 5); six < end; six += PANEL_SLICE, a += PANEL_ROWS) {
    product(a, 4, true, b, depth, six, 32, DECAY_ADD, factors);
  }
}

export function storeStack(stack: usize, b: usize, depth: i32, c: usize, cStep: usize): void {
  product(stack, ROW, false, b, depth, c, cStep, STORE, 0);
}

export function addStack(stack: usize, b: usize, depth: i32, c: usize): void {
  product(stack, ROW, false, b, depth, c, 32, ADD, 0);
}

/** Six rows between tokens times a slice. */
export function storeRows(rows: usize, b: usize, depth: i32, c: usize): void {
  product(rows, 4, true, b, depth, c, 32, STORE, 0);
}

export function addRows(rows: usize, b: usize, depth: i32, c: usize): void {
  product(rows, 4, true, b, depth, c, 32, ADD, 0);
}

/** Which way a triangular system is solved. */
export const DOWN: bool = false;
export const UP: bool = true;

/**
 * The diagonal block of a triangular system for six rows x of eight columns: x_r += sum over rows c solved before of
 * m_cr u_c, u_r = beta_r x_r. DOWN solves from the first row on, with m the block; UP from the last, with m transposed.
 */
@inline
export function substitute(block: usize, x: usize, betas: usize, u: usize, direction: bool): void {
  const back = direction == UP;
  const mRow: usize = back ? 0 - ROW : 4;
  const mColumn: usize = back ? <usize>-4 : ROW;
  const xRow: usize = back ? <usize>-32 : 32;
  const bRow: usize = back ? <usize>-4 : 4;
  if (back) {
    block += 5 * (ROW + 4);
    x += 5 * 32;
    u += 5 * 32;
    betas += 5 * 4;
  }
  for (let half: usize = 0; half < 32; half += 16, x += 16, u += 16) {
    const u0 = f32x4.mul(v128.load(x), v128.load32_splat(betas));
    v128.store(u, u0);

    let m = block + mRow;
    const x1 = madd(v128.load32_splat(m), u0, v128.load(x + xRow));
    const u1 = f32x4.mul(x1, v128.load32_splat(betas + bRow));
    v128.store(x + xRow, x1);
    v128.store(u + xRow, u1);

    m += mRow;
    let x2 = madd(v128.load32_splat(m), u0, v128.load(x + 2 * xRow));
    x2 = madd(v128.load32_splat(m + mColumn), u1, x2);
    const u2 = f32x4.mul(x2, v128.load32_splat(betas + 2 * bRow));
    v128.store(x + 2 * xRow, x2);
    v128.store(u + 2 * xRow, u2);

    m += mRow;
    let x3 = madd(v128.load32_splat(m), u0, v128.load(x + 3 * xRow));
    x3 = madd(v128.load32_splat(m + mColumn), u1, x3);
    x3 = madd(v128.load32_splat(m + 2 * mColumn), u2, x3);
    const u3 = f32x4.mul(x3, v128.load32_splat(betas + 3 * bRow));
    v128.store(x + 3 * xRow, x3);
    v128.store(u + 3 * xRow, u3);

    m += mRow;
    let x4 = madd(v128.load32_splat(m), u0, v128.load(x + 4 * xRow));
    x4 = madd(v128.load32_splat(m + mColumn), u1, x4);
    x4 = madd(v128.load32_splat(m + 2 * mColumn), u2, x4);
    x4 = madd(v128.load32_splat(m + 3 * mColumn), u3, x4);
    const u4 = f32x4.mul(x4, v128.load32_splat(betas + 4 * bRow));
    v128.store(x + 4 * xRow, x4);
    v128.store(u + 4 * xRow, u4);

    m += mRow;
    let x5 = madd(v128.load32_splat(m), u0, v128.load(x + 5 * xRow));
    x5 = madd(v128.load32_splat(m + mColumn), u1, x5);
    x5 = madd(v128.load32_splat(m + 2 * mColumn), u2, x5);
    x5 = madd(v128.load32_splat(m + 3 * mColumn), u3, x5);
    x5 = madd(v128.load32_splat(m + 4 * mColumn), u4, x5);
    v128.store(x + 5 * xRow, x5);
    v128.store(u + 5 * xRow, f32x4.mul(x5, v128.load32_splat(betas + 5 * bRow)));
  }
}
