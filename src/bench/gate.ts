/** The gate before any timing: a contender's result against the float64 reference. */
import { checkResult, WrongResultError } from '../measure/gate';
import { operationOf } from './attention-operations';
import type { Inputs, Problem } from './problem';

/** Checks a result as `Session.result` gives it: returns its largest error, over what errors are measured by. */
export type Gate = (out: Float32Array) => number;

/** Computes the reference once; the gate it returns throws a WrongResultError for a result that differs. */
export function gateOf(
  problem: Problem,
  inputs: Inputs,
  expected = operationOf(problem).expected(problem, inputs),
): Gate {
  const length = operationOf(problem).size(problem);
  return (out) => {
    if (out.length !== length) throw new WrongResultError(`it gave ${out.length} numbers instead of ${length}`);
    return checkResult('it', out, expected, problem.dtype);
  };
}
