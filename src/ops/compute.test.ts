import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createRuntime,
  gatedDeltaRule,
  gatedDeltaRuleStep,
  linearAttention,
  linearAttentionStep,
  type Runtime,
  type Tensor,
} from '../index';

let runtime: Runtime;
beforeAll(async () => {
  runtime = await createRuntime({ backend: 'reference' });
});
afterAll(() => runtime.dispose());

type Call = (x: Tensor<'f32'>, gates: Tensor<'f32'>, both: Tensor<'f32'>, state: Tensor<'f32'>) => unknown;

const CALLS: Record<string, Call> = {
  linearAttention: (x, _, both, state) => linearAttention(x, x, x, { out: both, state }),
  gatedDeltaRule: (x, gates, both, state) => gatedDeltaRule(x, x, x, gates, gates, { out: both, state }),
  gatedDeltaRuleStep: (x, gates, both, state) => {
    using fresh = runtime.tensor([0], [1, 1, 1, 1]);
    return gatedDeltaRuleStep(x, x, x, gates, gates, fresh, { out: both, state });
  },
  linearAttentionStep: (x, _, both, state) => linearAttentionStep(x, x, x, state, { inPlace: true, out: both }),
};

test.each(Object.keys(CALLS))('%s refuses an output and a state in one memory', (name) => {
  runtime.scope(() => {
    const x = runtime.tensor([1], [1, 1, 1, 1]);
    const gates = runtime.tensor([0], [1, 1, 1]);
    const both = runtime.tensor([0], [1, 1, 1, 1]);
    const call = () => (CALLS[name] as Call)(x, gates, both, both.reshape([1, 1, 1, 1]));
    expect(call).toThrow(/^(state|out) shares memory with (out|state): pass a tensor of its own$/);
  });
});
