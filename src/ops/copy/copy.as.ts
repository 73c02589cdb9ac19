/** Elements from one strided view to another; tasks are runs of elements in row-major order. */
import { storeTransposed } from '../../runtime/wasm/assembly/vector.as';
import { loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { BAND, CopyAxis, CopyParams, F32, F64, I32, RUN } from './params.generated.as';

/** Elements that are converted at a time. */
const CHUNK: usize = 1024;
/** Rows and columns of a tile. */
const SIDE: usize = BAND;

export const SCRATCH_BYTES: usize = CHUNK << 2;

export function fill(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CopyParams>(params);
  const bits = <u32>p.bits;
  const bytes = bytesOf(p.to);
  let at = p.whole + <usize>task * <usize>RUN * bytes;
  const end = p.whole + min(<usize>(task + 1) * <usize>RUN, p.wholeSize) * bytes;
  if (bytes == 4) for (; at < end; at += 4) store<u32>(at, bits);
  else for (; at < end; at += 2) store<u16>(at, <u16>bits);
}

export function copy(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CopyParams>(params);
  const dtype = p.from;
  const outDtype = p.to;
  const bytes = bytesOf(dtype);
  const first = params + CopyParams.BYTES;
  const last = first + (p.axes - 1) * CopyAxis.BYTES;
  const row = changetype<CopyAxis>(last);
  const end = min(<usize>(task + 1) * <usize>RUN, p.size);
  for (let at = <usize>task * <usize>RUN; at < end; ) {
    let rest = at;
    let from = p.x;
    let to = p.out;
    for (let each = last; each > first; each -= CopyAxis.BYTES) {
      const axis = changetype<CopyAxis>(each);
      const extent = axis.extent;
      const index = rest % extent;
      rest /= extent;
      from += index * axis.from;
      to += index * axis.to;
    }
    from += rest * changetype<CopyAxis>(first).from;
    to += rest * changetype<CopyAxis>(first).to;
    const count = min(end - at, row.extent - (at % row.extent));
    if (dtype == outDtype) copyRow(from, row.from, to, row.to, count, bytes);
    else convertRow(dtype, outDtype, from, row.from / bytes, to, count, scratch);
    at += count;
  }
}

@inline
function bytesOf(dtype: i32): usize {
  return dtype == F64 ? 8 : dtype == F32 || dtype == I32 ? 4 : 2;
}

/**
 * Columns of x as rows of out, which are the last axis; x is contiguous along the last but one. By square tiles, each put
 * together in scratch: so the lines of neither side, which often meet in one set of the cache, are fetched twice.
 */
export function transpose(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CopyParams>(params);
  const bytes = bytesOf(p.from);
  const first = params + CopyParams.BYTES;
  const last = first + (p.axes - 1) * CopyAxis.BYTES;
  const columns = changetype<CopyAxis>(last);
  const rows = changetype<CopyAxis>(last - CopyAxis.BYTES);
  const bands = (rows.extent + SIDE - 1) / SIDE;
  const row = (<usize>task % bands) * SIDE;
  let rest = <usize>task / bands;
  let from = p.x + row * bytes;
  let to = p.out + row * rows.to;
  for (let each = last - CopyAxis.BYTES; each > first; ) {
    each -= CopyAxis.BYTES;
    const axis = changetype<CopyAxis>(each);
    from += (rest % axis.extent) * axis.from;
    to += (rest % axis.extent) * axis.to;
    rest /= axis.extent;
  }
  const height = min(SIDE, rows.extent - row);
  let column: usize = 0;
  if (bytes == 4 && height == SIDE)
    for (; column + SIDE <= columns.extent; column += SIDE, from += SIDE * columns.from, to += SIDE << 2)
      transposeTile(from, columns.from, to, rows.to, scratch);
  for (let r: usize = 0; r < height; r++)
    copyRow(from + r * bytes, columns.from, to + r * rows.to, bytes, columns.extent - column, bytes);
}

function transposeTile(from: usize, fromStep: usize, to: usize, toStep: usize, tile: usize): void {
  for (let c: usize = 0; c < SIDE; c += 4, from += fromStep << 2) {
    for (let r: usize = 0; r < SIDE; r += 4) {
      const at = from + (r << 2);
      storeTransposed(
        v128.load(at),
        v128.load(at + fromStep),
        v128.load(at + fromStep * 2),
        v128.load(at + fromStep * 3),
        tile + ((r * SIDE + c) << 2),
        SIDE << 2,
      );
    }
  }
  for (let r: usize = 0; r < SIDE; r++, tile += SIDE << 2, to += toStep) {
    v128.store(to, v128.load(tile));
    v128.store(to, v128.load(tile, 16), 16);
    v128.store(to, v128.load(tile, 32), 32);
    v128.store(to, v128.load(tile, 48), 48);
  }
}

function copyRow(from: usize, fromStep: usize, to: usize, toStep: usize, count: usize, bytes: usize): void {
  if (fromStep == bytes && toStep == bytes) {
    memory.copy(to, from, count * bytes);
  } else if (bytes == 4) {
    for (let i: usize = 0; i < count; i++, from += fromStep, to += toStep) i32.store(to, i32.load(from));
  } else if (bytes == 8) {
    for (let i: usize = 0; i < count; i++, from += fromStep, to += toStep) i64.store(to, i64.load(from));
  } else {
    for (let i: usize = 0; i < count; i++, from += fromStep, to += toStep) store<u16>(to, load<u16>(from));
  }
}

/** By way of f32, a chunk at a time; integers to and from f64 at once. */
function convertRow(from: i32, to: i32, x: usize, stride: usize, out: usize, count: usize, scratch: usize): void {
  if (from == I32 && to == F64) {
    for (let i: usize = 0; i < count; i++, x += stride << 2, out += 8) f64.store(out, <f64>i32.load(x));
    return;
  }
  if (from == F64 && to == I32) {
    for (let i: usize = 0; i < count; i++, x += stride << 3, out += 4)
      v128.store32_lane(out, i32x4.trunc_sat_f64x2_s_zero(v128.load64_splat(x)), 0);
    return;
  }
  while (count > 0) {
    const chunk = min(count, CHUNK);
    // What becomes f32 needs no detour.
    const buffer = to == F32 ? out : scratch;
    let floats = buffer;
    if (from == I32) floatsOf(x, stride << 2, chunk, buffer);
    else if (from == F64) narrowed(x, stride << 3, chunk, buffer);
    else floats = loadRow(x, stride, from, <i32>chunk, buffer);
    if (to == F64) widened(floats, out, chunk);
    else if (to == I32) wholesOf(floats, out, chunk);
    else if (floats != out) storeRow(floats, out, to, <i32>chunk);
    x += chunk * stride * bytesOf(from);
    out += chunk * bytesOf(to);
    count -= chunk;
  }
}

function floatsOf(x: usize, step: usize, count: usize, to: usize): void {
  for (let i: usize = 0; i < count; i++, x += step) f32.store(to + (i << 2), <f32>i32.load(x));
}

function narrowed(x: usize, step: usize, count: usize, to: usize): void {
  for (let i: usize = 0; i < count; i++, x += step) f32.store(to + (i << 2), <f32>f64.load(x));
}

function widened(floats: usize, to: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) f64.store(to + (i << 3), <f64>f32.load(floats + (i << 2)));
}

/** Towards zero and within range, NaN as 0. */
function wholesOf(floats: usize, to: usize, count: usize): void {
  const end = floats + (count << 2);
  for (; floats + 16 <= end; floats += 16, to += 16) v128.store(to, i32x4.trunc_sat_f32x4_s(v128.load(floats)));
  for (; floats < end; floats += 4, to += 4) i32.store(to, i32x4.extract_lane(i32x4.trunc_sat_f32x4_s(v128.load32_splat(floats)), 0));
}
