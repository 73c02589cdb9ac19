/** Elements from one strided view to another; tasks are runs of elements in row-major order. */
import { CopyAxis, CopyParams, RUN } from './params.generated.as';

export function copy(params: usize, task: i32, scratch: usize): void {
  const p = changetype<CopyParams>(params);
  const bytes = p.elementBytes;
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
    copyRow(from, row.from, to, row.to, count, bytes);
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
