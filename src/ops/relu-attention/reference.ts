/** Attention within blocks with weights relu(scale q k), and its gradients, in float64. */

import type { Host } from '../../runtime/op';
import type { Tensor } from '../../tensor/tensor';

/** Attention within blocks of tokens with weights relu(scale q k); q [b,n,h,d], k [b,n,g,d], v [b,n,g,e], f32, contiguous. */
export interface ReluAttentionProblem {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  readonly block: number;
  readonly causal: boolean;
  readonly scale: number;
}

/** -> out [b,n,h,e]. */
export interface ReluAttentionCall extends ReluAttentionProblem {
  readonly out: Tensor;
}

export interface ReluAttentionBackwardCall extends ReluAttentionProblem {
  readonly gradOut: Tensor;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
}

type Numbers = Float64Array;
type Settings = Pick<ReluAttentionProblem, 'block' | 'causal' | 'scale'>;

interface ReluAttentionNumbers {
  /** [b,n,h,d], [b,n,g,d], [b,n,g,e]. */
  readonly q: Numbers;
  readonly k: Numbers;
  readonly v: Numbers;
  readonly extents: Readonly<Record<'b' | 'n' | 'h' | 'g' | 'd' | 'e', number>>;
}

function numbersOf({ q, k, v }: ReluAttentionProblem, { numbers }: Host): ReluAttentionNumbers {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const extents = { b, n, h, g: k.shape[2] as number, d, e: v.shape[3] as number };
  return { q: numbers(q), k: numbers(k), v: numbers(v), extents };
}

export function forward(call: ReluAttentionCall, host: Host): void {
  const inputs = numbersOf(call, host);
  const { b, n, h, e } = inputs.extents;
  const out = new Float64Array(b * n * h * e);
  for (const { row, key, weight } of pairsOf(inputs, call)) {
    for (let c = 0; c < e; c++) out[row * e + c]! += weight * inputs.v[key * e + c]!;
  }
  host.store(call.out, out);
}

export function backward(call: ReluAttentionBackwardCall, host: Host): void {
  const inputs = numbersOf(call, host);
  const gradOut = host.numbers(call.gradOut);
  const { q, k, v } = inputs;
  const { d, e } = inputs.extents;
  const [gradQ, gradK, gradV] = [q, k, v].map((x) => new Float64Array(x.length)) as [Numbers, Numbers, Numbers];
  for (const { row, key, weight } of pairsOf(inputs, call)) {
    let gradScore = 0;
    for (let c = 0; c < e; c++) {
      gradScore += call.scale * gradOut[row * e + c]! * v[key * e + c]!;
      gradV[key * e + c]! += weight * gradOut[row * e + c]!;
    }
    for (let c = 0; c < d; c++) {
      gradQ[row * d + c]! += gradScore * k[key * d + c]!;
      gradK[key * d + c]! += gradScore * q[row * d + c]!;
    }
  }
  host.store(call.gradQ, gradQ);
  host.store(call.gradK, gradK);
  host.store(call.gradV, gradV);
}

/** The pairs of a block whose weights are not 0: a row of [b,n,h] and one of [b,n,g]. */
function* pairsOf({ q, k, extents }: ReluAttentionNumbers, { block, causal, scale }: Settings) {
  const { b, n, h, g, d } = extents;
  for (let batch = 0; batch < b; batch++) {
    for (let i = 0; i < n; i++) {
      for (let head = 0; head < h; head++) {
        const row = (batch * n + i) * h + head;
        const first = Math.floor(i / block) * block;
        const last = causal ? i : Math.min(n, first + block) - 1;
        for (let j = first; j <= last; j++) {
          const key = (batch * n + j) * g + Math.floor((head * g) / h);
          let weight = 0;
          for (let c = 0; c < d; c++) weight += scale * q[row * d + c]! * k[key * d + c]!;
          if (!(weight <= 0)) yield { row, key, weight };
        }
      }
    }
  }
}
