/**
 * What `transnormer` computes, pair by pair in float64.
 * NormAttention: t_i = sum_j (phi(q_i) . phi(k_j)) v_j. DiagAttention: over the keys of the own block, t_i =
 * sum_j p_ij v_j for p_ij = softmax_j(q_i . k_j / sqrt(d)) or relu(q_i . k_j / sqrt(d)). All but the softmax are
 * normalised: o_i = t_i / (|t_i| / sqrt(h e) + epsilon), with t_i all heads of a token side by side.
 * With positions, phi(q_i) and phi(k_j), or q_i and k_j in a block, first become y = x - 2 (x . w) w, and each pair of
 * channels of y then turns by theta_c times the token's position.
 */
import { softmaxAttention, softmaxAttentionBackward } from '../../../ops/attention/softmax';
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { normal } from '../../../tensor/random';
import { add, at as numberAt, pairSums, tensor, type Wide } from '../../reference';
import type { Phi, Positions, TransnormerParams } from './settings';

type Inputs = Readonly<Record<'q' | 'k' | 'v', HostTensor>> & {
  readonly theta?: HostTensor | undefined;
  readonly reflection?: HostTensor | undefined;
};

const FEATURES: Readonly<Record<Phi, { value(x: number): number; slope(x: number): number }>> = {
  '1+elu': { value: (x) => (x > 0 ? 1 + x : Math.exp(x)), slope: (x) => (x > 0 ? 1 : Math.exp(x)) },
  elu: { value: (x) => (x > 0 ? x : Math.exp(x) - 1), slope: (x) => (x > 0 ? 1 : Math.exp(x)) },
  relu: { value: (x) => Math.max(0, x), slope: (x) => (x > 0 ? 1 : 0) },
  identity: { value: (x) => x, slope: () => 1 },
};

/** The keys that token i sees, from the first to the one before the second number. */
export function keysOf({ attention, causal, block }: TransnormerParams, i: number, m: number): [number, number] {
  const first = attention === 'diag' ? Math.floor(i / block) * block : 0;
  const past = attention === 'diag' ? Math.min(m, first + block) : m;
  return [first, causal ? i + 1 : past];
}

/** Queries or keys as they are multiplied: phi of them, rotated by their positions. */
export function features(x: HostTensor, inputs: Inputs, params: TransnormerParams): Float64Array {
  const { attention, phi } = params;
  const mapped = attention === 'norm' ? toFloat64(x).map(FEATURES[phi].value) : toFloat64(x);
  const positions = params.positions === 'none' ? undefined : positionsOf(inputs, x.shape[3] as number, params);
  return positions ? rotated(mapped, x.shape, positions) : mapped;
}

/** Undefined for none; without theta and reflection 10000^(-2c/d), as the fast path has it in float32, and a random direction. */
function positionsOf(
  { theta, reflection }: Omit<Inputs, 'q' | 'k' | 'v'>,
  d: number,
  { positions, attention, block, seed }: TransnormerParams,
): Positions | undefined {
  if (positions === 'none') return undefined;
  const row = Float64Array.from(normal(d, seed));
  const length = Math.sqrt(row.reduce((sum, value) => sum + value ** 2, 0));
  return {
    direction: reflection ? toFloat64(reflection) : row.map((value) => value / length),
    theta: theta ? toFloat64(theta) : Float32Array.from({ length: d >> 1 }, (_, c) => 1e4 ** ((-2 * c) / d)),
    of: (token) => (attention === 'diag' ? token % block : token),
  };
}

/** Rows [b, n, h, d], reflected and rotated by the positions of their tokens. */
function rotated(x: Float64Array, shape: readonly number[], { direction, theta, of }: Positions): Float64Array {
  const [, n, h, d] = shape as [number, number, number, number];
  const result = reflected(x, direction);
  for (let row = 0; row < x.length / d; row++) {
    const position = of(Math.floor(row / h) % n);
    for (let c = 0; c < theta.length; c++) {
      const [cos, sin] = [Math.cos(position * (theta[c] as number)), Math.sin(position * (theta[c] as number))];
      const at = row * d + 2 * c;
      const [a, b] = [numberAt(result, at), numberAt(result, at + 1)];
      result[at] = a * cos - b * sin;
      result[at + 1] = a * sin + b * cos;
    }
  }
  return result;
}

/** From the gradient with respect to the result of `rotated` to that by x; adds that by theta to `gradTheta`. */
function rotatedGradient(
  result: Float64Array,
  grad: Float64Array,
  shape: readonly number[],
  { direction, theta, of }: Positions,
  gradTheta: Float64Array,
): Float64Array {
  const [, n, h, d] = shape as [number, number, number, number];
  const back = grad.slice();
  for (let row = 0; row < grad.length / d; row++) {
    const position = of(Math.floor(row / h) % n);
    for (let c = 0; c < theta.length; c++) {
      const [cos, sin] = [Math.cos(position * (theta[c] as number)), Math.sin(position * (theta[c] as number))];
      const at = row * d + 2 * c;
      const [a, b] = [numberAt(grad, at), numberAt(grad, at + 1)];
      back[at] = a * cos + b * sin;
      back[at + 1] = b * cos - a * sin;
      add(gradTheta, c, position * (b * numberAt(result, at) - a * numberAt(result, at + 1)));
    }
  }
  return reflected(back, direction);
}

/** Each row x as x - 2 (x . w) w. */
function reflected(x: Float64Array, direction: ArrayLike<number>): Float64Array {
  const d = direction.length;
  const along = new Float64Array(x.length / d);
  x.forEach((value, at) => {
    add(along, Math.floor(at / d), value * (direction[at % d] as number));
  });
  return x.map((value, at) => value - 2 * numberAt(along, Math.floor(at / d)) * (direction[at % d] as number));
}

export function reference(
  inputs: Inputs,
  params: TransnormerParams,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const { q, k, v, theta } = inputs;
  const [h, d] = q.shape.slice(2) as [number, number];
  const [m, , e] = v.shape.slice(1) as [number, number, number];
  const { attention, weights, epsilon } = params;
  const [phiQ, phiK] = [features(q, inputs, params), features(k, inputs, params)];
  const mapped = { q: tensor(phiQ, q.shape), k: tensor(phiK, k.shape), v };
  const scale = attention === 'diag' ? 1 / Math.sqrt(d) : 1;
  const keys = (i: number) => keysOf(params, i, m);
  const isSoftmax = attention === 'diag' && weights === 'softmax';
  const sees = (i: number, j: number) => j >= keys(i)[0] && j < keys(i)[1];
  const sums = (by?: HostTensor) =>
    isSoftmax
      ? {
          ...softmaxAttention(mapped, scale, sees),
          ...(by && softmaxAttentionBackward({ ...mapped, gradOut: by }, scale, sees)),
        }
      : pairSums({ ...mapped, scale, keys, relu: attention === 'diag' && weights === 'relu' }, by);
  const { out: total } = sums();
  const data = total.data as Float64Array;
  const result = { out: isSoftmax ? total : tensor(normalised(data, h * e, epsilon), total.shape) };
  if (!gradOut) return result;

  const bySums = isSoftmax
    ? gradOut
    : tensor(normalisedGradient(data, toFloat64(gradOut), h * e, epsilon), total.shape);
  const grads = sums(bySums) as Readonly<Record<'gradQ' | 'gradK' | 'gradV', Wide>>;
  const positions = params.positions === 'none' ? undefined : positionsOf(inputs, d, params);
  const gradTheta = new Float64Array(Math.floor(d / 2));
  const gradInput = (x: HostTensor, phi: Float64Array, grad: Float64Array) => {
    const gradMapped = positions ? rotatedGradient(phi, grad, x.shape, positions, gradTheta) : grad;
    if (attention === 'diag') return gradMapped;
    return toFloat64(x).map((value, at) => FEATURES[params.phi].slope(value) * numberAt(gradMapped, at));
  };
  return {
    ...result,
    grad_q: tensor(gradInput(q, phiQ, grads.gradQ.data), q.shape),
    grad_k: tensor(gradInput(k, phiK, grads.gradK.data), k.shape),
    grad_v: grads.gradV,
    ...(theta && { grad_theta: tensor(gradTheta, theta.shape) }),
  };
}

/** SRMSNorm: t / (|t| / sqrt(width) + epsilon). */
export function normalised(t: Float64Array, width: number, epsilon: number): Float64Array {
  return t.map((value, at) => {
    const divisor = rootOf(t, Math.floor(at / width), width) + epsilon;
    return divisor === 0 ? 0 : value / divisor;
  });
}

/** With r = |t| / sqrt(width) and f = 1 / (r + epsilon): f by_j - f^2 t_j (t . by) / (width r). */
export function normalisedGradient(t: Float64Array, by: Float64Array, width: number, epsilon: number): Float64Array {
  return t.map((value, at) => {
    const row = Math.floor(at / width);
    const root = rootOf(t, row, width);
    if (root + epsilon === 0) return 0;
    let inner = 0;
    for (let c = row * width; c < (row + 1) * width; c++) inner += numberAt(t, c) * numberAt(by, c);
    const along = root === 0 ? 0 : (value * inner) / (width * root * (root + epsilon) ** 2);
    return numberAt(by, at) / (root + epsilon) - along;
  });
}

function rootOf(t: Float64Array, row: number, width: number): number {
  let sum = 0;
  for (let c = row * width; c < (row + 1) * width; c++) sum += numberAt(t, c) ** 2;
  return Math.sqrt(sum / width);
}
