/** Calls of the gated delta rule in float64. */
import type { Host } from '../../runtime/op';
import type { GatedDeltaRuleBackwardCall, GatedDeltaRuleCall, GatedDeltaRuleInputs } from './call';
import { type DeltaRuleInputs, gatedDeltaRule, gatedDeltaRuleBackward } from './recurrence';

export function forward(call: GatedDeltaRuleCall, host: Host): void {
  const result = gatedDeltaRule(inputsOf(call, host), call.scale, call.every);
  host.store(call.out, result.out.data);
  host.store(call.state, result.state.data);
  if (call.states) host.store(call.states, result.states.data);
}

export function backward(call: GatedDeltaRuleBackwardCall, host: Host): void {
  const { gradOut, gradState, gradStates, gradQ, gradK, gradV, gradG, gradBeta, gradInitialState, totals } = call;
  const gradients = {
    gradOut: host.tensor(gradOut),
    gradState: gradState && host.tensor(gradState),
    gradStates: gradStates && host.tensor(gradStates),
  };
  const result = gatedDeltaRuleBackward(inputsOf(call, host), gradients, call.scale, call.every);
  const outputs = {
    gradQ,
    gradK,
    gradV,
    gradG,
    gradBeta,
    ...(gradInitialState && { gradInitialState }),
    ...(totals && { gradStates: totals }),
  };
  for (const [name, tensor] of Object.entries(outputs)) host.store(tensor, result[name as keyof typeof result].data);
}

function inputsOf({ q, k, v, g, beta, initialState }: GatedDeltaRuleInputs, { tensor }: Host): DeltaRuleInputs {
  return {
    q: tensor(q),
    k: tensor(k),
    v: tensor(v),
    g: tensor(g),
    beta: tensor(beta),
    initialState: initialState && tensor(initialState),
  };
}
