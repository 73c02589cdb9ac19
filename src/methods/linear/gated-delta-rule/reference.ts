/** What `gated-delta-rule` computes: its recurrence in float64, by the names of the method's inputs. */
import { type DeltaRuleInputs, gatedDeltaRule, gatedDeltaRuleBackward } from '../../../ops/gated-delta-rule/recurrence';
import type { HostTensor } from '../../../tensor/host';

type Inputs = Omit<DeltaRuleInputs, 'initialState'> & { readonly initial_state?: HostTensor };

/** S = e^g S; S = S + k (beta (v - S^T k))^T; out = scale S^T q, for one token after the other. */
export function reference(
  { initial_state: initialState, ...tokens }: Inputs,
  { scale }: { readonly scale?: number | undefined },
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const inputs = { ...tokens, initialState };
  const factor = scale ?? 1 / Math.sqrt(tokens.q.shape[3] as number);
  const { out, state } = gatedDeltaRule(inputs, factor);
  const results = { out, state };
  if (!gradOut) return results;
  const grads = gatedDeltaRuleBackward(inputs, { gradOut }, factor);
  return {
    ...results,
    grad_q: grads.gradQ,
    grad_k: grads.gradK,
    grad_v: grads.gradV,
    grad_g: grads.gradG,
    grad_beta: grads.gradBeta,
    ...(initialState && { grad_initial_state: grads.gradInitialState }),
  };
}
