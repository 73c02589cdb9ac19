/** Softmax of rows, and its gradient, as machine code; columns are WebAssembly's. */
import { CONSTANTS } from '../../code/constants';
import type { Integer, Kernel, Row, Vector } from '../../code/kernel';
import { checkInside, type NativePlan } from '../../runtime/cpu/plan';
import type { Tensor } from '../../tensor/tensor';
import { exp2, LOWEST } from '../attention/forward/native';
import { planSoftmax } from '.';
import { SoftmaxParams } from './params';
import type { Extents } from './reference';

/** The least elements of a row. */
const SHORTEST = 64;
/** Vectors of maxima or sums, so that none waits for the one before. */
const SIDE = 4;

type Rows<Names extends string> = Extents & Readonly<Record<Names, Tensor>>;

export const planNative: NativePlan<Rows<'x' | 'out'>> = (call, { native }) => {
  if (call.inner > 1 || call.n < SHORTEST) return undefined;
  for (const each of [call.x, call.out]) checkInside(each);
  return planSoftmax('softmax', call, native.kernel('softmax', softmax));
};

export const planGradient: NativePlan<Rows<'out' | 'gradOut' | 'gradX'>> = (call, { native }) => {
  if (call.inner > 1 || call.n < SHORTEST) return undefined;
  for (const each of [call.out, call.gradOut, call.gradX]) checkInside(each);
  return planSoftmax('softmaxGradient', call, native.kernel('softmaxGradient', gradient));
};

/** NaN, and infinities of which the difference is NaN, make the sum NaN, and so all results of a row. */
function softmax(k: Kernel): void {
  const p = k.params(SoftmaxParams);
  eachRow(k, p, [p.x(), p.out()], (row, [x, out]) => {
    const largest = Array.from({ length: SIDE }, () => k.load(row.last(x)));
    row.whole(SIDE, (places) => {
      for (const [at, place] of places.entries()) {
        const each = largest[at] as Vector;
        each.set(each.larger(place(x)));
      }
    });
    const shift = k.joined(largest.reduce(larger), larger);
    const sum = k.number(0);
    const weights = weightsBy(k, shift);
    row.whole(1, ([place]) => {
      const each = weights(k.load(place(x)));
      each.store(place(out));
      sum.set(sum.plus(each));
    });
    row.rest((place, count) => {
      weights(k.load(place(x), count)).store(place(out), count);
      sum.set(sum.plus(k.load(place(out), count)));
    });
    const factor = k.number(1).over(k.joined(sum, plus));
    row.whole(1, ([place]) => factor.times(place(out)).store(place(out)));
    row.rest((place, count) => factor.times(k.load(place(out), count)).store(place(out), count));
  });
}

/** e^(x - shift), for no x above the shift; 0 below 2^-100, and NaN of NaN. */
export function weightsBy(k: Kernel, shift: Vector): (x: Vector) => Vector {
  const [none, lowest] = [k.number(0), k.number(LOWEST)];
  return (x) => {
    const power = x.minus(shift).times(CONSTANTS.LOG2E);
    return k.select(power, '<=', lowest, none, exp2(k, power));
  };
}

/** out (gradOut - out . gradOut). */
function gradient(k: Kernel): void {
  const p = k.params(SoftmaxParams);
  eachRow(k, p, [p.out(), p.gradOut(), p.gradX()], (row, [out, gradOut, gradX]) => {
    const sums = Array.from({ length: SIDE }, () => k.number(0));
    const [first] = sums as [Vector];
    row.whole(SIDE, (places) => {
      for (const [at, place] of places.entries()) (sums[at] as Vector).addProduct(k.load(place(out)), place(gradOut));
    });
    row.rest((place, count) => first.addProduct(k.load(place(out), count), k.load(place(gradOut), count)));
    const mean = k.joined(sums.reduce(plus), plus);
    row.whole(1, ([place]) => k.load(place(gradOut)).minus(mean).times(place(out)).store(place(gradX)));
    row.rest((place, count) => {
      const deviation = k.load(place(gradOut), count).minus(mean);
      deviation.times(k.load(place(out), count)).store(place(gradX), count);
    });
  });
}

const plus = (a: Vector, b: Vector) => a.plus(b);
const larger = (a: Vector, b: Vector) => a.larger(b);

/** `body` with the addresses in each tensor of each row of a task. */
function eachRow<const Places extends readonly Integer[]>(
  k: Kernel,
  p: ReturnType<typeof k.params<typeof SoftmaxParams>>,
  tensors: Places,
  body: (row: Row, tensors: Places) => void,
): void {
  const [n, together] = [p.n(), p.together()];
  const [row, bytes] = [k.row(n), n.times(4)];
  const first = k.task.times(together);
  const start = first.times(bytes).plus(k.base);
  const places = tensors.map((tensor) => tensor.plus(start));
  k.range('rows', first, first.plus(together).least(p.rows()), 1, () => {
    body(row, places as unknown as Places);
    for (const place of places) place.add(bytes);
  });
}
