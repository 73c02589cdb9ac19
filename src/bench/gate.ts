/** The gate before any timing: a contender's result against the float64 reference. */
import { softmaxAttention } from '../runtime/reference/attention';
import { hostTensor } from '../tensor/host';
import { bandOfProblem, type Problem, type QkvData } from './problem';

/** Largest error allowed, over the largest |v|. */
const TOLERANCE = 1e-5;
/** Up to this many queries all of them are checked, beyond it a few from the first to the last. */
const ALL_QUERIES = 256;
const SOME_QUERIES = 16;

/** Says that a contender computed something else; no speed of it may be reported. */
export class WrongResultError extends Error {
  override name = 'WrongResultError';
}

/** Checks results [n, h, d] of one problem: returns the largest error over the largest |v|. */
export type Gate = (out: Float32Array) => number;

/** Computes the reference once; the gate it returns throws a WrongResultError for a result that differs. */
export function gateOf(problem: Problem, { q, k, v }: QkvData): Gate {
  const { n, h, d } = problem;
  const row = h * d;
  const mask = bandOfProblem(problem);
  const queries =
    n <= ALL_QUERIES ? range(n) : range(SOME_QUERIES).map((i) => Math.round((i * (n - 1)) / (SOME_QUERIES - 1)));
  const picked = new Float32Array(queries.length * row);
  queries.forEach((query, at) => {
    picked.set(q.subarray(query * row, (query + 1) * row), at * row);
  });
  const expected = softmaxAttention(
    {
      q: hostTensor(picked, [1, queries.length, h, d]),
      k: hostTensor(k, [1, n, h, d]),
      v: hostTensor(v, [1, n, h, d]),
    },
    1 / Math.sqrt(d),
    (at, j, head) => mask.sees(queries[at] as number, j, { b: 1, n, m: n, h, g: h, batch: 0, head }),
  ).out.data;
  const largest = v.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

  return (out) => {
    if (out.length !== n * row) throw new WrongResultError(`it gave ${out.length} numbers instead of ${n * row}`);
    let worst = 0;
    queries.forEach((query, at) => {
      for (let c = 0; c < row; c++) {
        const error = Math.abs((out[query * row + c] as number) - (expected[at * row + c] as number));
        worst = Math.max(worst, error);
      }
    });
    const error = worst / largest;
    if (!(error <= TOLERANCE)) {
      throw new WrongResultError(
        `it differs from the float64 reference by ${error.toPrecision(2)} of the largest |v|, allowed are ${TOLERANCE}`,
      );
    }
    return error;
  };
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i);
}
