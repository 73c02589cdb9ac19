/** Calls of linear attention in float64. */
import type { Host } from '../../runtime/op';
import type {
  LinearAttentionBackwardCall,
  LinearAttentionCall,
  LinearAttentionProblem,
  LinearAttentionStepCall,
} from './call';
import { type LinearInputs, linearAttention, linearAttentionBackward } from './recurrence';

export function forward(call: LinearAttentionCall, host: Host): void {
  const { out, final, normaliser } = call;
  const result = linearAttention({ ...inputsOf(call, host), epsilon: normaliser?.epsilon });
  host.store(out, result.out.data);
  if (final.state) host.store(final.state, result.state.data);
  if (final.keySum) host.store(final.keySum, result.keySum.data);
  if (normaliser) host.store(normaliser.denominator, result.denominator.data);
}

export function backward(call: LinearAttentionBackwardCall, host: Host): void {
  const { gradOut, gradFinal, gradQ, gradK, gradV, gradInitial, normalised } = call;
  const result = linearAttentionBackward({
    ...inputsOf(call, host),
    epsilon: normalised?.epsilon,
    gradOut: host.tensor(gradOut),
    gradState: gradFinal.state && host.tensor(gradFinal.state),
    gradKeySum: gradFinal.keySum && host.tensor(gradFinal.keySum),
  });
  host.store(gradQ, result.gradQ.data);
  host.store(gradK, result.gradK.data);
  host.store(gradV, result.gradV.data);
  if (gradInitial.state) host.store(gradInitial.state, result.gradState.data);
  if (gradInitial.keySum) host.store(gradInitial.keySum, result.gradKeySum.data);
}

export function step({ epsilon, denominator, ...call }: LinearAttentionStepCall, host: Host): void {
  const result = linearAttention({ ...inputsOf({ ...call, causal: true }, host), epsilon });
  host.store(call.out, result.out.data);
  host.store(call.final.state, result.state.data);
  if (call.final.keySum) host.store(call.final.keySum, result.keySum.data);
  if (denominator) host.store(denominator, result.denominator.data);
}

function inputsOf({ q, k, v, initial, causal, decay }: LinearAttentionProblem, { tensor }: Host): LinearInputs {
  const state = initial.state && tensor(initial.state);
  const keySum = initial.keySum && tensor(initial.keySum);
  return { q: tensor(q), k: tensor(k), v: tensor(v), state, keySum, causal, decay };
}
