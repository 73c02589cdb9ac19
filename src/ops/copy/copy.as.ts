/** Elements from one strided view to another; tasks are runs of elements in row-major order. */

/** Elements of one task. */
const RUN: usize = 16384;
/** Axes of a view: extent, and strides of both sides in bytes. */
const AXIS_BYTES: usize = 24;

@unmanaged
class CopyParams {
  size: f64;
  elementBytes: f64;
  x: f64;
  out: f64;
  axes: f64;
}

@unmanaged
class Axis {
  extent: f64;
  from: f64;
  to: f64;
}

export function copy(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CopyParams>(params);
  const bytes = <usize>p.elementBytes;
  const first = params + offsetof<CopyParams>();
  const last = first + (<usize>p.axes - 1) * AXIS_BYTES;
  const row = changetype<Axis>(last);
  const end = min(<usize>(task + 1) * RUN, <usize>p.size);
  for (let at = <usize>task * RUN; at < end; ) {
    let rest = at;
    let from = <usize>p.x;
    let to = <usize>p.out;
    for (let each = last; each > first; each -= AXIS_BYTES) {
      const axis = changetype<Axis>(each);
      const extent = <usize>axis.extent;
      const index = rest % extent;
      rest /= extent;
      from += index * <usize>axis.from;
      to += index * <usize>axis.to;
    }
    from += rest * <usize>changetype<Axis>(first).from;
    to += rest * <usize>changetype<Axis>(first).to;
    const count = min(end - at, <usize>row.extent - (at % <usize>row.extent));
    copyRow(from, <usize>row.from, to, <usize>row.to, count, bytes);
    at += count;
  }
}

function copyRow(from: usize, fromStep: usize, to: usize, toStep: usize, count: usize, bytes: usize): void {
  if (fromStep == bytes && toStep == bytes) {
    memory.copy(to, from, count * bytes);
  } else if (bytes == 4) {
    for (let i: usize = 0; i < count; i++, from += fromStep, to += toStep) i32.store(to, i32.load(from));
  } else {
    for (let i: usize = 0; i < count; i++, from += fromStep, to += toStep) store<u16>(to, load<u16>(from));
  }
}
