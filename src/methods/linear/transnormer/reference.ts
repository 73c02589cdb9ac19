/**
 * What `transnormer` computes, pair by pair in float64.
 * NormAttention: t_i = sum_j (phi(q_i) . phi(k_j)) v_j. DiagAttention: over the keys of the own block, t_i =
 * sum_j p_ij v_j for p_ij = softmax_j(q_i . k_j / sqrt(d)) or relu(q_i . k_j / sqrt(d)). All but the softmax are
 * normalised: o_i = t_i / (|t_i| / sqrt(h e) + epsilon), with t_i all heads of a token side by side.
 */
import { type HostTensor, toFloat64 } from '../../../tensor/host';

export interface TransnormerParams {
  readonly attention: 'norm' | 'diag';
  readonly causal: boolean;
  readonly phi: Phi;
  readonly block: number;
  readonly weights: 'softmax' | 'relu';
  readonly epsilon: number;
}

export type Phi = '1+elu' | 'elu' | 'relu' | 'identity';

type Inputs = Readonly<Record<'q' | 'k' | 'v', HostTensor>>;

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

/** phi of queries and keys: the numbers whose products are the scores. */
export function features(x: HostTensor, { attention, phi }: TransnormerParams): Float64Array {
  return attention === 'norm' ? toFloat64(x).map(FEATURES[phi].value) : toFloat64(x);
}

export function reference(
  { q, k, v }: Inputs,
  params: TransnormerParams,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const { attention, weights: kind, epsilon } = params;
  const isSoftmax = attention === 'diag' && kind === 'softmax';
  const isRelu = attention === 'diag' && kind === 'relu';
  const scale = attention === 'diag' ? 1 / Math.sqrt(d) : 1;
  const [phiQ, phiK, values] = [features(q, params), features(k, params), toFloat64(v)];

  /** One query of one head: its row, the rows of its keys, and their weights. */
  const rows = Array.from({ length: b * n * h }, (_, row) => {
    const [head, i, batch] = [row % h, Math.floor(row / h) % n, Math.floor(row / h / n)];
    const [first, past] = keysOf(params, i, m);
    const keys = Array.from({ length: past - first }, (_, at) => {
      return (batch * m + first + at) * g + Math.floor((head * g) / h);
    });
    const scores = keys.map((key) => {
      let score = 0;
      for (let c = 0; c < d; c++) score += (phiQ[row * d + c] as number) * (phiK[key * d + c] as number);
      return scale * score;
    });
    if (!isSoftmax) return { keys, weights: isRelu ? scores.map((score) => Math.max(0, score)) : scores };
    const largest = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - largest));
    const sum = powers.reduce((total, power) => total + power, 0);
    return { keys, weights: powers.map((power) => power / sum) };
  });

  const sums = new Float64Array(b * n * h * e);
  rows.forEach(({ keys, weights }, row) => {
    keys.forEach((key, j) => {
      for (let c = 0; c < e; c++) add(sums, row * e + c, (weights[j] as number) * (values[key * e + c] as number));
    });
  });
  const out = isSoftmax ? sums : normalised(sums, h * e, epsilon);
  const result = { out: tensor(out, [b, n, h, e]) };
  if (!gradOut) return result;

  const bySums = isSoftmax ? toFloat64(gradOut) : normalisedGradient(sums, toFloat64(gradOut), h * e, epsilon);
  const gradPhiQ = new Float64Array(phiQ.length);
  const gradPhiK = new Float64Array(phiK.length);
  const gradV = new Float64Array(values.length);
  rows.forEach(({ keys, weights }, row) => {
    const byWeights = keys.map((key) => {
      let product = 0;
      for (let c = 0; c < e; c++) product += (bySums[row * e + c] as number) * (values[key * e + c] as number);
      return product;
    });
    const mean = byWeights.reduce((sum, by, j) => sum + by * (weights[j] as number), 0);
    keys.forEach((key, j) => {
      const weight = weights[j] as number;
      const by = byWeights[j] as number;
      const byScore = scale * (isSoftmax ? weight * (by - mean) : isRelu && weight === 0 ? 0 : by);
      for (let c = 0; c < e; c++) add(gradV, key * e + c, weight * (bySums[row * e + c] as number));
      for (let c = 0; c < d; c++) {
        add(gradPhiQ, row * d + c, byScore * (phiK[key * d + c] as number));
        add(gradPhiK, key * d + c, byScore * (phiQ[row * d + c] as number));
      }
    });
  });
  const slopes = (x: HostTensor, grad: Float64Array) =>
    attention === 'norm' ? toFloat64(x).map((value, at) => FEATURES[params.phi].slope(value) * entry(grad, at)) : grad;
  return {
    ...result,
    grad_q: tensor(slopes(q, gradPhiQ), q.shape),
    grad_k: tensor(slopes(k, gradPhiK), k.shape),
    grad_v: tensor(gradV, v.shape),
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
    for (let c = row * width; c < (row + 1) * width; c++) inner += entry(t, c) * entry(by, c);
    const along = root === 0 ? 0 : (value * inner) / (width * root * (root + epsilon) ** 2);
    return entry(by, at) / (root + epsilon) - along;
  });
}

function rootOf(t: Float64Array, row: number, width: number): number {
  let sum = 0;
  for (let c = row * width; c < (row + 1) * width; c++) sum += entry(t, c) ** 2;
  return Math.sqrt(sum / width);
}

function entry(x: Float64Array, index: number): number {
  return x[index] as number;
}

function add(x: Float64Array, index: number, value: number): void {
  x[index] = entry(x, index) + value;
}

function tensor(data: Float64Array, shape: readonly number[]): HostTensor<'f64'> {
  return { dtype: 'f64', shape, data };
}
