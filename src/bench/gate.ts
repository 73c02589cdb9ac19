/** The gate before any timing: a contender's result against the float64 reference. */
import { type Expected, expectedGradients, expectedResult } from './expected';
import type { Inputs, Problem } from './problem';

/**
 * Largest error allowed, as a share of what it is measured by. In f16 a result, which is a mean of values, may be off by
 * two roundings of 2^-11 besides: its own, and that of weights before they meet the values, as on tensor cores.
 */
const TOLERANCE = { f32: 1e-5, f16: 1e-5 + 2 ** -10 };
/** Up to this many queries all of them are checked, beyond it a few from the first to the last. */
const ALL_QUERIES = 256;
const SOME_QUERIES = 16;

/** Says that a contender computed something else; no speed of it may be reported. */
export class WrongResultError extends Error {
  override name = 'WrongResultError';
}

/** Checks a result as `Session.result` gives it: returns its largest error, over what errors are measured by. */
export type Gate = (out: Float32Array) => number;

/** Computes the reference once; the gate it returns throws a WrongResultError for a result that differs. */
export function gateOf(problem: Problem, inputs: Inputs, expected = expectedOf(problem, inputs)): Gate {
  const { n, h, g = h, d, dtype = 'f32', backward, operation } = problem;
  const length = operation?.size(problem) ?? (backward ? n * (h + 2 * g) * d : n * h * d);
  return (out) => {
    if (out.length !== length) throw new WrongResultError(`it gave ${out.length} numbers instead of ${length}`);
    return Math.max(...expected.map((part) => errorOf(out, part, TOLERANCE[dtype])));
  };
}

function expectedOf(problem: Problem, inputs: Inputs): readonly Expected[] {
  const { operation, backward, n } = problem;
  return (
    operation?.expected(problem, inputs) ?? (backward ? expectedGradients : expectedResult)(problem, inputs, someOf(n))
  );
}

function errorOf(out: Float32Array, { known, largest, of }: Expected, tolerance: number): number {
  let worst = 0;
  for (const { at, numbers } of known) {
    numbers.forEach((number, c) => {
      worst = Math.max(worst, Math.abs((out[at + c] as number) - number));
    });
  }
  const error = worst / largest;
  if (error <= tolerance) return error;
  throw new WrongResultError(
    `it differs from the float64 reference by ${error.toPrecision(2)} of the ${of}, allowed are ${Number(tolerance.toPrecision(2))}`,
  );
}

/** All of `n` if these are few, else some, the first and the last among them. */
export function someOf(n: number): number[] {
  if (n <= ALL_QUERIES) return Array.from({ length: n }, (_, i) => i);
  return Array.from({ length: SOME_QUERIES }, (_, i) => Math.round((i * (n - 1)) / (SOME_QUERIES - 1)));
}
