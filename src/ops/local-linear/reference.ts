/** Calls of local linear attention in float64. */
import type { Host } from '../../runtime/op';
import type { LocalLinearBackwardCall, LocalLinearCall, LocalLinearProblem } from './call';
import { localLinear, localLinearBackward, type RegressionInputs } from './regression';

export function forward(call: LocalLinearCall, host: Host): void {
  const { out, lse, solution, residual, iterations } = call;
  const result = localLinear(inputsOf(call, host), call);
  host.store(out, result.out.data);
  host.store(lse, result.lse.data);
  host.store(solution, result.solution.data);
  host.store(residual, result.residual.data);
  host.store(iterations, new Float64Array(iterations.size));
}

export function backward(call: LocalLinearBackwardCall, host: Host): void {
  const { gradOut, gradQ, gradK, gradV, gradRidgeRows, residual, stopGradRidge } = call;
  const result = localLinearBackward(inputsOf(call, host), host.tensor(gradOut), call, stopGradRidge);
  host.store(gradQ, result.gradQ.data);
  host.store(gradK, result.gradK.data);
  host.store(gradV, result.gradV.data);
  if (gradRidgeRows) host.store(gradRidgeRows, result.gradRidgeRows.data);
  host.store(residual, result.residual.data);
}

function inputsOf({ q, k, v, ridgeRows }: LocalLinearProblem, { tensor }: Host): RegressionInputs {
  return { q: tensor(q), k: tensor(k), v: tensor(v), ridgeRows: ridgeRows && tensor(ridgeRows) };
}
