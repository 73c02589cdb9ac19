/** The gate before any timing: a contender's result against the float64 reference. */
import { checkResult, type Expected, WrongResultError } from '../measure/gate';
import { operationOf } from './attention-operations';
import type { Inputs, Problem } from './problem';

/** Checks a result of `Session.result`: returns its largest error, relative to what errors are measured by. */
export type Gate = (out: Float32Array) => number;

/** Computes the reference once, unless it is given; the gate throws a WrongResultError for a result that differs. */
export async function gateOf(problem: Problem, inputs: Inputs, given?: readonly Expected[]): Promise<Gate> {
  const expected = given ?? (await operationOf(problem).expected(problem, inputs));
  const length = operationOf(problem).size(problem);
  return (out) => {
    if (out.length !== length) throw new WrongResultError(`it gave ${out.length} numbers instead of ${length}`);
    return checkResult('it', out, expected, problem.dtype);
  };
}
