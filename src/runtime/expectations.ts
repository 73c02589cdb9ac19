/** Expectations of ops, checked in host memory. */
import type { Elements } from '../tensor/elements';
import type { Op } from './op';

/** Throws the error of the first expectation that is not met; `numbers` returns the elements in row-major order. */
export function checkExpectations<Call>(op: Op<Call>, call: Call, numbers: (x: Elements) => ArrayLike<number>): void {
  for (const { tensor, least, most, magnitude = 0, except, error } of op.faults?.(call) ?? []) {
    const values = numbers(tensor);
    const { length } = values;
    let first = -1;
    let count = 0;
    let largest = 0;
    // A plain loop: a function call for each number would take several times as long.
    for (let at = 0, x: number; at < length; at++) {
      x = values[at] as number;
      if ((x >= least && x <= most && Math.abs(x) >= magnitude) || x === except) continue;
      if (count++ === 0) first = at;
      largest = Math.max(largest, Math.abs(x));
    }
    if (count > 0) throw error(values[first] as number, first, { count, largest });
  }
}
