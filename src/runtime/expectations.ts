/** What only the device can see, where JavaScript can see it too. */
import type { Op } from '../ops/op';
import type { Tensor } from '../tensor/tensor';

/** Throws the error of the first expectation that an element does not meet; `numbers` gives the elements in row-major order. */
export function checkExpectations<Call>(op: Op<Call>, call: Call, numbers: (x: Tensor) => ArrayLike<number>): void {
  for (const { tensor, least, most, magnitude = 0, except, error } of op.faults?.(call) ?? []) {
    const values = numbers(tensor);
    const { length } = values;
    let at = 0;
    // A plain loop: a function for each number would take several times as long.
    for (let x: number; at < length; at++) {
      x = values[at] as number;
      if (!(x >= least && x <= most && Math.abs(x) >= magnitude) && x !== except) break;
    }
    if (at < length) throw error(values[at] as number, at);
  }
}
