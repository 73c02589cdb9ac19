/** The definition in float64: which tokens see each other, and the gated sum with its gradients. */
import { type Sees, softmaxAttention, softmaxAttentionBackward } from '../../../ops/attention/softmax';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { uniformGenerator } from '../../../tensor/random';
import type { HostInputs, MaskProblem } from '../../define';

interface Params {
  readonly window: number;
  readonly causal: boolean;
  readonly strict: boolean;
  readonly clamped?: boolean | undefined;
  readonly seed: number;
  readonly scale?: number | undefined;
}

/** Stochastic or sliding-window attention. */
export type PathName = 'sa' | 'swa';

/** Whether token t sees token u. */
export function sees(
  path: PathName,
  { window, causal, strict, seed, clamped = causal && !strict }: Params,
  { n, given }: Pick<MaskProblem, 'n' | 'given'>,
): Sees {
  if (path === 'swa') {
    if (causal) return (t, u) => u <= t && t - u < window;
    return (t, u) => u >= t - Math.floor(window / 2) && u < t - Math.floor(window / 2) + window;
  }
  const tokenAt = given.permutation ?? shuffle(n, seed);
  const slotOf = Array.from({ length: n }, (_, token) => tokenAt.indexOf(token));
  const slot = (token: number) => slotOf[token] as number;
  const [before, after] = causal && !strict ? [window - 1, window - 1] : splitOf(window);
  return (t, u) => {
    if (causal && u > t) return false;
    const steps = slot(u) - slot(t);
    if (clamped) return steps >= -before && steps <= after;
    // From the first slot seen, around the circle.
    return (steps + before + n) % n <= before + after;
  };
}

/** The slots of a window before and after its own. */
function splitOf(window: number): [number, number] {
  const before = Math.floor(window / 2);
  return [before, window - 1 - before];
}

/** Fisher-Yates. */
function shuffle(n: number, seed: number): Int32Array {
  const next = uniformGenerator(seed);
  const tokens = Int32Array.from({ length: n }, (_, token) => token);
  for (let last = n - 1; last > 0; last--) {
    const other = Math.floor(next() * (last + 1));
    [tokens[last], tokens[other]] = [tokens[other] as number, tokens[last] as number];
  }
  return tokens;
}

/** out = gate_sa SA + gate_swa SWA, a gate for each token and head; sigmoid(0) = 1 / 2 where none is given. lse is SA's. */
export function gatedReference(
  inputs: HostInputs<Readonly<Record<'q' | 'k' | 'v', string>>>,
  params: Params,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const { q, k, v, permutation, gate_sa, gate_swa } = inputs as Readonly<
    Record<'q' | 'k' | 'v', HostTensor> & Partial<Record<'permutation' | 'gate_sa' | 'gate_swa', HostTensor>>
  >;
  const [, n, , d] = q.shape as [number, number, number, number];
  const e = v.shape[3] as number;
  const given: MaskProblem['given'] = permutation ? { permutation: permutation.data as Int32Array } : {};
  const scale = params.scale ?? 1 / Math.sqrt(d);
  const paths = [
    { name: 'sa', gate: gate_sa && toFloat64(gate_sa) },
    { name: 'swa', gate: gate_swa && toFloat64(gate_swa) },
  ] as const;
  const results: Record<string, HostTensor<'f64'>> = {};
  const sum = (name: string, { shape, data }: HostTensor<'f64'>) => {
    const before = results[name]?.data;
    results[name] = { dtype: 'f64', shape, data: data.map((value, at) => value + (before?.[at] ?? 0)) };
  };
  const gated = (x: HostTensor, gate: Float64Array | undefined): HostTensor<'f64'> => ({
    dtype: 'f64',
    shape: x.shape,
    data: toFloat64(x).map((value, at) => value * (gate ? (gate[Math.floor(at / e)] as number) : 1 / 2)),
  });
  for (const { name, gate } of paths) {
    const visible = sees(name, params, { n, given });
    const { out, lse } = softmaxAttention({ q, k, v }, scale, visible);
    sum('out', gated(out, gate));
    if (name === 'sa') results.lse = lse;
    if (!gradOut) continue;
    const grads = softmaxAttentionBackward({ q, k, v, gradOut: gated(gradOut, gate) }, scale, visible);
    sum('grad_q', grads.gradQ);
    sum('grad_k', grads.gradK);
    sum('grad_v', grads.gradV);
    if (!gate) continue;
    const gradGate = new Float64Array(gate.length);
    const byOut = toFloat64(gradOut);
    out.data.forEach((value, at) => {
      const row = Math.floor(at / e);
      gradGate[row] = (gradGate[row] as number) + value * (byOut[at] as number);
    });
    results[`grad_gate_${name}`] = { dtype: 'f64', shape: q.shape.slice(0, 3), data: gradGate };
  }
  return results;
}
