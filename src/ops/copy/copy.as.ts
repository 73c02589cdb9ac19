/** Elements from one strided view to a place in another; tasks are runs of the other's elements in row-major order. */
import { loadRow, storeRow } from '../../runtime/wasm/assembly/storage.as';
import { CopyAxis, CopyParams, F32, I32, RUN } from './params.generated.as';

/** Elements that are converted at a time. */
const CHUNK: usize = 1024;

export const SCRATCH_BYTES: usize = CHUNK << 2;

export function copy(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CopyParams>(params);
  const first = params + CopyParams.BYTES;
  const last = first + (p.axes - 1) * CopyAxis.BYTES;
  const row = changetype<CopyAxis>(last);
  const end = min(<usize>(task + 1) * <usize>RUN, p.size);
  for (let at = <usize>task * <usize>RUN; at < end; ) {
    let rest = at / row.extent;
    const start = at % row.extent;
    const count = min(end - at, row.extent - start);
    let from = p.x;
    let to = p.out + start * row.to;
    let isInside = true;
    for (let each = last; each > first; ) {
      each -= CopyAxis.BYTES;
      const axis = changetype<CopyAxis>(each);
      const above = each > first ? rest / axis.extent : 0;
      const index = rest - above * axis.extent;
      rest = above;
      // What is before x wraps around.
      const place = index - axis.before;
      isInside = isInside && place < axis.inside;
      from += place * axis.from;
      to += index * axis.to;
    }
    const lead = isInside ? min(max(row.before, start) - start, count) : count;
    const past = max(lead, min(max(row.before + row.inside, start) - start, count));
    fill(p, to, row.to, lead);
    if (past > lead) {
      const source = from + (start + lead - row.before) * row.from;
      copyRow(p, source, row.from, to + lead * row.to, row.to, past - lead, scratch);
    }
    fill(p, to + past * row.to, row.to, count - past);
    at += count;
  }
}

// @ts-ignore: decorator
@inline
function bytesOf(dtype: i32): usize {
  return dtype == F32 || dtype == I32 ? 4 : 2;
}

function fill(p: CopyParams, to: usize, step: usize, count: usize): void {
  const bits = <u32>p.around;
  if (bytesOf(p.to) == 4) for (; count > 0; count--, to += step) store<u32>(to, bits);
  else for (; count > 0; count--, to += step) store<u16>(to, <u16>bits);
}

function copyRow(
  p: CopyParams,
  from: usize,
  fromStep: usize,
  to: usize,
  toStep: usize,
  count: usize,
  scratch: usize,
): void {
  const bytes = bytesOf(p.from);
  if (p.from != p.to) {
    convertRow(p.from, p.to, from, fromStep / bytes, to, count, scratch);
  } else if (fromStep == bytes && toStep == bytes) {
    memory.copy(to, from, count * bytes);
  } else if (bytes == 4) {
    for (let i: usize = 0; i < count; i++, from += fromStep, to += toStep) i32.store(to, i32.load(from));
  } else {
    for (let i: usize = 0; i < count; i++, from += fromStep, to += toStep) store<u16>(to, load<u16>(from));
  }
}

/** By way of f32, a chunk at a time. */
function convertRow(from: i32, to: i32, x: usize, stride: usize, out: usize, count: usize, scratch: usize): void {
  while (count > 0) {
    const chunk = min(count, CHUNK);
    const floats = from == I32 ? floatsOf(x, stride << 2, chunk, scratch) : loadRow(x, stride, from, <i32>chunk, scratch);
    if (to == I32) wholesOf(floats, out, chunk);
    else storeRow(floats, out, to, <i32>chunk);
    x += chunk * stride * bytesOf(from);
    out += chunk * bytesOf(to);
    count -= chunk;
  }
}

function floatsOf(x: usize, step: usize, count: usize, to: usize): usize {
  for (let i: usize = 0; i < count; i++, x += step) f32.store(to + (i << 2), <f32>i32.load(x));
  return to;
}

/** Towards zero and within range, NaN as 0. */
function wholesOf(floats: usize, to: usize, count: usize): void {
  const end = floats + (count << 2);
  for (; floats + 16 <= end; floats += 16, to += 16) v128.store(to, i32x4.trunc_sat_f32x4_s(v128.load(floats)));
  for (; floats < end; floats += 4, to += 4) i32.store(to, i32x4.extract_lane(i32x4.trunc_sat_f32x4_s(v128.load32_splat(floats)), 0));
}
