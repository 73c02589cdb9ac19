/** Sums, means, maxima and logarithms of sums of exponentials of rows as machine code; all else is WebAssembly's. */
import { CONSTANTS } from '../../code/constants';
import { log, most } from '../../code/functions';
import type { Integer, Kernel, Vector } from '../../code/kernel';
import { checkInside, type NativePlan } from '../../runtime/cpu/plan';
import { weightsBy } from '../softmax/native';
import type { ReduceCall, Reduction } from './call';
import { planReduce } from './core';
import { ReduceParams, RUN } from './params';

/** The least elements of a row. */
const SHORTEST = 64;
/** Vectors of sums or maxima, so that none waits for the one before. */
const SIDE = 4;
const LARGEST = 3.4028234663852886e38;

/** What code depends on. */
interface Form {
  readonly operation: Reduction;
  /** Whether results are those of parts of rows. */
  readonly isParted: boolean;
  readonly divisor: number;
}

export const planNative: NativePlan<ReduceCall> = (call, { native }) => {
  const { operation, x, out, n, inner } = call;
  if (operation === 'argmax' || inner > 1 || n < SHORTEST || native.isFull) return undefined;
  for (const each of [x, out]) checkInside(each);
  const isParted = n > RUN;
  const form: Form = { operation, isParted, divisor: operation === 'mean' && !isParted ? n : 1 };
  return planReduce(
    call,
    native.kernel(`reduce ${Object.values(form)}`, (k) => reduce(k, form)),
  );
};

function reduce(k: Kernel, { operation, isParted, divisor }: Form): void {
  const p = k.params(ReduceParams);
  const [n, parts, rows] = [p.n(), p.parts(), p.rows()];
  const first = k.task.times(p.together());
  const past = first.plus(p.together()).least(p.units());
  k.range('units', first, past, 1, (unit) => {
    const start = isParted ? unit.remainder(parts).times(rows) : k.integer(0);
    const count = isParted ? n.minus(start).least(rows) : n;
    const row = isParted ? unit.over(parts) : unit;
    const x = row.times(n).plus(start).times(4).plus(p.x()).plus(k.base);
    const put = (result: Vector, to: Integer) => result.store(to.plus(k.base).at(0, unit, 4), k.integer(1));
    const to = isParted ? p.values() : p.out();
    if (operation === 'logSumExp') {
      // Finite below, lest the difference of infinities be NaN.
      const shift = k.number(-LARGEST).larger(largest(k, x, count));
      const sum = totalOfWeights(k, x, count, shift);
      if (isParted) {
        put(shift, to);
        put(sum, p.besides());
      } else put(k.select(shift, '==', k.number(CONSTANTS.INFINITE), shift, shift.plus(log(k, sum))), to);
    } else {
      const result = operation === 'max' ? largest(k, x, count) : total(k, x, count);
      put(divisor === 1 ? result : result.over(k.number(divisor)), to);
    }
  });
}

function totalOfWeights(k: Kernel, x: Integer, count: Integer, shift: Vector): Vector {
  const [sum, weights, row] = [k.number(0), weightsBy(k, shift), k.row(count)];
  row.whole(1, ([place]) => sum.set(sum.plus(weights(k.load(place(x))))));
  row.rest((place, rest) => {
    // By way of memory, since lanes beyond the row have weights too.
    weights(k.load(place(x), rest)).store(k.scratch.at());
    sum.set(sum.plus(k.load(k.scratch.at(), rest)));
  });
  return k.joined(sum, plus);
}

/** By sums of four vectors, so that errors grow slowly. */
function total(k: Kernel, x: Integer, count: Integer): Vector {
  const sums = Array.from({ length: SIDE }, () => k.number(0));
  const [first] = sums as [Vector];
  const row = k.row(count);
  row.whole(4 * SIDE, (places) => {
    for (let at = 0; at < places.length; at += 4) {
      const four = places.slice(at, at + 4).map((place) => k.load(place(x)));
      const sum = sums[at / 4] as Vector;
      sum.set(sum.plus(inPairs(four, plus)));
    }
  });
  row.rest((place, rest) => first.set(first.plus(k.load(place(x), rest))));
  return k.joined(inPairs(sums, plus), plus);
}

/** NaN if there is one. What is left of whole vectors is in the last one, with others again. */
function largest(k: Kernel, x: Integer, count: Integer): Vector {
  const row = k.row(count);
  const all = Array.from({ length: SIDE }, () => k.load(row.last(x)));
  const join = (a: Vector, b: Vector) => most(k, a, b);
  row.whole(SIDE, (places) => {
    for (const [at, place] of places.entries()) {
      const each = all[at] as Vector;
      each.set(join(each, k.load(place(x))));
    }
  });
  return k.joined(inPairs(all, join), join);
}

const plus = (a: Vector, b: Vector) => a.plus(b);

function inPairs(all: readonly Vector[], join: (a: Vector, b: Vector) => Vector): Vector {
  const [first, second] = all as [Vector, Vector?];
  if (!second) return first;
  const half = all.length / 2;
  return inPairs(
    all.slice(0, half).map((each, at) => join(each, all[half + at] as Vector)),
    join,
  );
}
