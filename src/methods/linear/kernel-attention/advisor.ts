/** The advisor, a state [b, h, f, e] that keys and values correct, on the tensors' own runtime. */

import { zeros } from '../../../ops/float32';
import { gatedDeltaRule } from '../../../ops/gated-delta-rule';
import { linearAttention } from '../../../ops/linear-attention';
import { multiply, subtract } from '../../../ops/map';
import type { Control } from '../../../runtime/backend';
import { sizeOf } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';
import type { KernelAttentionParams } from './settings';

/** An update in terms of linear attention: `initial` plus the sum of keys times values, read by the queries. */
export interface Update {
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
      return { keys: phi, values: v, initial: advisor };
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
  if (!advisor) return { keys: phi, values: fresh, initial: undefined };
  const { out } = linearAttention(phi, none.keys, none.values, { initialState: advisor, ...control });
  return { keys: phi, values: subtract(fresh, multiply(out, forget, control), control), initial: advisor };
}

/** The delta rule: each token corrects the state that the one before left. */
function tokenByToken({ phi, v, advisor }: Given, { alpha, beta }: KernelAttentionParams, control: Control): Update {
  const { runtime } = v;
  const gain = runtime.tensor([1 + alpha], []);
  const values = multiply(v, gain, control);
  const tokens = phi.shape.slice(0, 3);
  const strengths = runtime.tensor(new Float32Array(sizeOf(tokens)).fill(beta), tokens);
  const settings = { scale: 1, initialState: advisor, ...control };
  const { state } = gatedDeltaRule(phi, phi, values, zeros(runtime, tokens), strengths, settings);
  return { ...nothing(phi, v.shape[3] as number), initial: state };
}
