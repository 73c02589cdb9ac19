/** States of parts to the state of all, and the gradients; tasks are runs of rows. */
import { exp, log } from '../../runtime/wasm/assembly/functions.as';
import { bytesOf, loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { madd, sumOfLanes } from '../../runtime/wasm/assembly/vector.as';
import { COLUMNS, MergeParams, Part, ROWS } from './params.generated.as';

/** A row of f32. */
const ROW_BYTES: usize = <usize>COLUMNS << 2;

export const SCRATCH_BYTES: usize = 2 * ROW_BYTES;

const LARGEST: f32 = 3.4028234663852886e38;

export function mergeStates(params: usize, task: i32, scratch: usize): void {
  const p = changetype<MergeParams>(params);
  const end = min((task + 1) * ROWS, p.rows);
  for (let row = task * ROWS; row < end; row++) mergeRow(p, <usize>row, scratch);
}

function mergeRow(p: MergeParams, row: usize, scratch: usize): void {
  const first = changetype<usize>(p) + MergeParams.BYTES;
  const last = first + p.parts * Part.BYTES;
  let largest: f32 = -Infinity;
  for (let at = first; at < last; at += Part.BYTES) largest = max(largest, lseOf(at, row));
  // Finite, lest the difference of infinities be NaN.
  const shift = max(min(largest, LARGEST), -LARGEST);
  let sum: f32 = 0;
  for (let at = first; at < last; at += Part.BYTES) sum += weight(lseOf(at, row), shift);
  f32.store(p.lse + (row << 2), shift + f32x4.extract_lane(log(f32x4.splat(sum)), 0));

  const bytes = bytesOf(p.dtype);
  for (let column = 0; column < p.columns; column += COLUMNS) {
    const columns = min(COLUMNS, p.columns - column);
    const place = (row * <usize>p.columns + <usize>column) * bytes;
    memory.fill(scratch, 0, ROW_BYTES);
    for (let at = first; at < last; at += Part.BYTES) {
      const share = weight(lseOf(at, row), shift);
      if (share == 0) continue;
      const x = loadRow(changetype<Part>(at).out + place, 1, p.dtype, columns, scratch + ROW_BYTES);
      addRow(x, share / sum, scratch, columns);
    }
    storeRow(scratch, p.out + place, p.dtype, columns);
  }
}

@inline
function lseOf(part: usize, row: usize): f32 {
  return f32.load(changetype<Part>(part).lse + (row << 2));
}

/** e^(lse - shift), 0 for parts that saw no key. */
@inline
function weight(lse: f32, shift: f32): f32 {
  return lse == -Infinity ? 0 : f32x4.extract_lane(exp(f32x4.splat(lse - shift)), 0);
}

/** sums += factor x. */
function addRow(x: usize, factor: f32, sums: usize, columns: i32): void {
  const end = x + (<usize>columns << 2);
  const factors = f32x4.splat(factor);
  for (; x + 16 <= end; x += 16, sums += 16) v128.store(sums, madd(v128.load(x), factors, v128.load(sums)));
  for (; x < end; x += 4, sums += 4) f32.store(sums, f32.load(sums) + factor * f32.load(x));
}

export function mergeStatesBackward(params: usize, task: i32, scratch: usize): void {
  const p = changetype<MergeParams>(params);
  const first = params + MergeParams.BYTES;
  const last = first + p.parts * Part.BYTES;
  const end = min((task + 1) * ROWS, p.rows);
  for (let row = task * ROWS; row < end; row++) {
    for (let at = first; at < last; at += Part.BYTES) gradientsOf(p, at, <usize>row, scratch);
  }
}

function gradientsOf(p: MergeParams, at: usize, row: usize, scratch: usize): void {
  const part = changetype<Part>(at);
  const share = weight(lseOf(at, row), f32.load(p.lse + (row << 2)));
  const bytes = bytesOf(p.dtype);
  let inner: f32 = p.gradLse ? f32.load(p.gradLse + (row << 2)) : 0;
  for (let column = 0; column < p.columns; column += COLUMNS) {
    const columns = min(COLUMNS, p.columns - column);
    const place = row * <usize>p.columns + <usize>column;
    const grad = part.gradOut + (place << 2);
    if (share == 0 || !p.gradOut) {
      memory.fill(grad, 0, <usize>columns << 2);
      continue;
    }
    const own = loadRow(part.out + place * bytes, 1, p.dtype, columns, scratch);
    const merged = loadRow(p.out + place * bytes, 1, p.dtype, columns, scratch + ROW_BYTES);
    inner += gradientOfRow(own, merged, p.gradOut + (place << 2), share, grad, columns);
  }
  f32.store(part.gradLse + (row << 2), share == 0 ? 0 : share * inner);
}

/** The sum of gradOut (own - merged); grad = share gradOut. */
function gradientOfRow(own: usize, merged: usize, gradOut: usize, share: f32, grad: usize, columns: i32): f32 {
  const bytes = <usize>columns << 2;
  let sums = f32x4.splat(0);
  let at: usize = 0;
  for (; at + 16 <= bytes; at += 16) {
    const g = v128.load(gradOut + at);
    sums = madd(g, f32x4.sub(v128.load(own + at), v128.load(merged + at)), sums);
    v128.store(grad + at, f32x4.mul(g, f32x4.splat(share)));
  }
  let sum = sumOfLanes(sums);
  for (; at < bytes; at += 4) {
    const g = f32.load(gradOut + at);
    sum += g * (f32.load(own + at) - f32.load(merged + at));
    f32.store(grad + at, g * share);
  }
  return sum;
}
