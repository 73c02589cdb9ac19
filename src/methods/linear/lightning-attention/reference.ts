/** What `lightning-attention` computes: its recurrence in float64, by the names of the method's inputs. */
import { linearAttention, linearAttentionBackward } from '../../../ops/linear-attention/recurrence';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import type { Schedule } from './schedules';

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
  const decay = given
    ? [...toFloat64(given)]
    : Array.from({ length: heads }, (_, head) => decayOf(head, heads, params));
  const inputs = { q, k, v, state, causal: true, decay };
  const { out, state: last } = linearAttention(inputs);
  if (!gradOut) return { out, state: last };
  const { gradQ, gradK, gradV, gradState } = linearAttentionBackward({ ...inputs, gradOut });
  return {
    out,
    state: last,
    grad_q: gradQ,
    grad_k: gradK,
    grad_v: gradV,
    ...(state && { grad_initial_state: gradState }),
  };
}

/** The paper's exp(-8h/H (1 - l/L)), or exp(-slope (1 - l/(L-1) + 1e-5)) with ALiBi's slopes; 1 without a schedule. */
function decayOf(head: number, heads: number, { schedule, layer, layers }: Params): number {
  if (schedule === undefined) return 1;
  if (schedule === 'paper') return Math.exp(((-8 * head) / heads) * (1 - layer / layers));
  let power = 1;
  while (2 * power <= heads) power *= 2;
  // Beyond a power of 2 they are every other one of twice as many heads.
  const slope = head < power ? 2 ** ((-8 * (head + 1)) / power) : 2 ** ((-4 * (2 * (head - power) + 1)) / power);
  return Math.exp(-slope * (1 - layer / Math.max(1, layers - 1) + 1e-5));
}
