/** What `lightning-attention` computes: its recurrence in float64, by the names of the method's inputs. */
import { linearAttention, linearAttentionBackward } from '../../../ops/linear-attention/recurrence';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { lightningDecays, type Schedule } from './schedules';

interface Inputs extends Readonly<Record<'q' | 'k' | 'v', HostTensor>> {
  readonly decay?: HostTensor;
  readonly initial_state?: HostTensor;
}

interface Params {
  readonly schedule?: Schedule | undefined;
  readonly layer: number;
  readonly layers: number;
}

/** S_t = lambda S_(t-1) + k_t v_t^T, out_t = S_t^T q_t, for each head from its initial state. */
export function reference(
  { q, k, v, decay: given, initial_state: state }: Inputs,
  params: Params,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const heads = q.shape[2] as number;
  const none = new Array<number>(heads).fill(1);
  const decay = given
    ? [...toFloat64(given)]
    : params.schedule
      ? lightningDecays(params.schedule, heads, params)
      : none;
  const inputs = { q, k, v, state, causal: true, decay };
  const { out, state: last } = linearAttention(inputs);
  if (!gradOut) return { out, state: last };
  const { gradQ, gradK, gradV, gradState } = linearAttentionBackward({ ...inputs, gradOut });
  return {
    ...{ out, state: last, grad_q: gradQ, grad_k: gradK, grad_v: gradV },
    ...(state && { grad_initial_state: gradState }),
  };
}
