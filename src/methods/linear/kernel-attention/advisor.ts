/** The advisor, a state [b, h, f, e] that keys and values correct, on the tensors' own runtime. */

import { gatedDeltaRule, gatedDeltaRuleBackward } from '../../../ops/gated-delta-rule';
import { linearAttention, linearAttentionBackward } from '../../../ops/linear-attention';
import { add, multiply, subtract } from '../../../ops/map';
import type { Control } from '../../../runtime/backend';
import type { Runtime } from '../../../runtime/runtime';
import { type Shape, sizeOf } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import type { KernelAttentionParams } from './settings';

/** An update as linear attention completes it: `initial` and the sum of keys by values, read by the queries. */
export interface Update {
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly initial: Tensor | undefined;
  /** From the gradients with respect to these to those by the features of keys, by values and by the advisor before. */
  backward(gradients: Gradients): Gradients;
}

interface Gradients {
  readonly keys: Tensor;
  readonly values: Tensor;
  readonly initial: Tensor | undefined;
}

interface Given {
  /** Features [b, m, h, f]. */
  readonly phi: Tensor;
  readonly v: Tensor;
  readonly advisor: Tensor | undefined;
}

/** Reads a state without keys and values of its own. */
export function nothing({ shape: [b, , h, f], runtime }: Tensor, e: number): { keys: Tensor; values: Tensor } {
  return {
    keys: zeros(runtime, [b, 1, h, f] as number[]),
    values: zeros(runtime, [b, 1, h, e] as number[]),
  };
}

export const zeros = (runtime: Runtime, shape: Shape) => runtime.tensor(new Float32Array(sizeOf(shape)), shape);

/** The update that `params` name, other than `frozen`. */
export function updateOf(given: Given, params: KernelAttentionParams, control: Control): Update {
  const { phi, v, advisor } = given;
  const { signal } = control;
  switch (params.update) {
    case 'tokens':
      return tokenByToken(given, params, { signal });
    case 'batch':
      return allAtOnce(given, params, params.beta, { signal });
    case 'mean':
      return allAtOnce(given, params, params.beta / (v.shape[1] as number), { signal });
    default:
      return { keys: phi, values: v, initial: advisor, backward: (grads) => grads };
  }
}

/** S + step sum_i phi_i ((1 + alpha) v_i - phi_i S): every token corrects the same old state. */
function allAtOnce(
  { phi, v, advisor }: Given,
  { alpha }: KernelAttentionParams,
  step: number,
  control: Control,
): Update {
  const gain = v.runtime.tensor([(1 + alpha) * step], []);
  const forget = v.runtime.tensor([step], []);
  const none = nothing(phi, v.shape[3] as number);
  const fresh = multiply(v, gain, control);
  const values = advisor ? subtract(fresh, recalled(advisor), control) : fresh;

  /** step phi S. */
  function recalled(initialState: Tensor): Tensor {
    const { out, state } = linearAttention(phi, none.keys, none.values, { initialState, ...control });
    state.dispose();
    return multiply(out, forget, control);
  }
  return {
    keys: phi,
    values,
    initial: advisor,
    backward(grads) {
      const gradV = multiply(grads.values, gain, control);
      if (!advisor) return { ...grads, values: gradV };
      const zero = zeros(v.runtime, v.shape);
      const gradRecalled = subtract(zero, multiply(grads.values, forget, control), control);
      const settings = { initialState: advisor, ...control };
      const read = linearAttentionBackward(phi, none.keys, none.values, { gradOut: gradRecalled }, settings);
      return {
        keys: add(grads.keys, read.gradQ, control),
        values: gradV,
        initial: add(grads.initial as Tensor, read.gradInitialState as Tensor, control),
      };
    },
  };
}

/** The delta rule: each token corrects the state that the one before left. */
function tokenByToken({ phi, v, advisor }: Given, { alpha, beta }: KernelAttentionParams, control: Control): Update {
  const { runtime } = v;
  const gain = runtime.tensor([1 + alpha], []);
  const values = multiply(v, gain, control);
  const tokens = phi.shape.slice(0, 3);
  const [logs, strengths] = [zeros(runtime, tokens), runtime.tensor(filled(tokens, beta), tokens)];
  const settings = { scale: 1, initialState: advisor, ...control };
  const { state } = gatedDeltaRule(phi, phi, values, logs, strengths, settings);
  return {
    ...nothing(phi, v.shape[3] as number),
    initial: state,
    backward({ initial: gradState }) {
      const gradOut = zeros(runtime, v.shape);
      const grads = gatedDeltaRuleBackward(phi, phi, values, logs, strengths, { gradOut, gradState }, settings);
      const gradV = multiply(grads.gradV, gain, control);
      return { keys: grads.gradK, values: gradV, initial: grads.gradInitialState };
    },
  };
}

const filled = (shape: Shape, value: number) => new Float32Array(sizeOf(shape)).fill(value);
