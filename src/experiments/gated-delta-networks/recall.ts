/** How many of the pairs written to a memory come back: each is asked for by its key, and the nearest value counts. */
import { attention } from '../../ops/attention';
import { gatedDeltaRule } from '../../ops/gated-delta-rule';
import { linearAttention } from '../../ops/linear-attention';
import type { Runtime } from '../../runtime/runtime';
import type { Tensor } from '../../tensor/tensor';
import { DIMENSION, LOG_DECAY, SHARPNESS, shareRecalled } from '../recall';
import { unitRows } from '../vectors';

export const MEMORIES = ['gated delta rule', 'linear attention', 'softmax attention'] as const;
export type Memory = (typeof MEMORIES)[number];

/**
 * Share of the keys for which what each memory recalls is nearest to the value written last, of `sequences` sequences of `pairs`
 * tokens, whose keys [sequences, pairs, 1, 32] repeat after `keys` of them.
 */
export async function recall(
  runtime: Runtime,
  { sequences, pairs, keys }: Readonly<Record<'sequences' | 'pairs' | 'keys', number>>,
): Promise<Record<Memory, number>> {
  const shape = [sequences, pairs, 1, DIMENSION];
  const own = unitRows(sequences * keys, DIMENSION, 2 * pairs);
  const written = Float32Array.from({ length: sequences * pairs * DIMENSION }, (_, at) => {
    const row = Math.floor(at / DIMENSION);
    const key = Math.floor(row / pairs) * keys + ((row % pairs) % keys);
    return own[key * DIMENSION + (at % DIMENSION)]!;
  });
  const values = unitRows(sequences * pairs, DIMENSION, 2 * pairs + 1);
  const outputs = runtime.scope(() => {
    const k = runtime.tensor(written, shape);
    const v = runtime.tensor(values, shape);
    // Each key is asked for where it was written last.
    const q = k.slice(1, pairs - keys, pairs);
    return {
      'gated delta rule': readState(runtime, q, k, v).read(),
      'linear attention': linearAttention(q, k, v).out.read(),
      'softmax attention': attention(q, k, v, { scale: SHARPNESS }).out.read(),
    } satisfies Record<Memory, unknown>;
  });
  const last = Array.from({ length: keys }, (_, key) => pairs - keys + key);
  const asked = Array.from({ length: sequences }, () => last);
  const shares = Object.entries(outputs).map(
    async ([memory, out]) => [memory, shareRecalled((await out) as Float32Array, values, asked)] as const,
  );
  return Object.fromEntries(await Promise.all(shares)) as Record<Memory, number>;
}

/** The values that the state after all pairs recalls for the keys `q`. */
function readState(runtime: Runtime, q: Tensor, k: Tensor, v: Tensor): Tensor {
  const gates = (x: Tensor, value: number) => {
    const shape = x.shape.slice(0, 3);
    return runtime.tensor(new Float32Array(shape.reduce((a, b) => a * b)).fill(value), shape);
  };
  const { state } = gatedDeltaRule(k, k, v, gates(k, LOG_DECAY), gates(k, 1));
  // Tokens that write nothing and do not decay only read.
  const options = { initialState: state, scale: 1 };
  const last = v.slice(1, v.shape[1]! - q.shape[1]!, v.shape[1]!);
  return gatedDeltaRule(q, q, last, gates(q, 0), gates(q, 0), options).out;
}
