/** What `l2vit` and the local concentration module compute, pair by pair and tap by tap in float64. */
import { type HostTensor, toFloat64 } from '../../../tensor/host';

export interface L2vitParams {
  readonly minimum: number;
  readonly scale?: number | undefined;
}

export interface L2vitInputs<T> {
  readonly q: T;
  readonly k: T;
  readonly v: T;
  /** [h]; else the scale serves all heads. */
  readonly tau?: T;
}

/**
 * With a_ij = relu(q_i) . relu(k_j) and denominator_i = sum_j a_ij: out_i = tau sum_j a_ij v_j / max(denominator_i,
 * minimum); zeros where that is 0. Where the minimum is taken it is a constant.
 */
export function reference(
  { q, k, v, tau }: L2vitInputs<HostTensor>,
  { minimum, scale }: L2vitParams,
  gradOut?: HostTensor,
): Record<string, HostTensor<'f64'>> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g, e] = v.shape as [number, number, number, number];
  const [queries, keys, values] = [q, k, v].map(toFloat64) as [Float64Array, Float64Array, Float64Array];
  const factors = tau ? toFloat64(tau) : new Float64Array(h).fill(scale ?? 1 / Math.sqrt(d));
  const by = gradOut && toFloat64(gradOut);
  const [out, denominators] = [new Float64Array(b * n * h * e), new Float64Array(b * n * h)];
  const [gradQ, gradK, gradV, gradTau] = [queries, keys, values, factors].map((x) => new Float64Array(x.length)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  for (let row = 0; row < b * n * h; row++) {
    const head = row % h;
    const factor = entry(factors, head);
    const rows = Array.from({ length: m }, (_, j) => {
      return (Math.floor(row / h / n) * m + j) * g + Math.floor((head * g) / h);
    });
    const weights = rows.map((key) => {
      let weight = 0;
      for (let c = 0; c < d; c++) weight += relu(entry(queries, row * d + c)) * relu(entry(keys, key * d + c));
      return weight;
    });
    const denominator = weights.reduce((sum, weight) => sum + weight, 0);
    denominators[row] = denominator;
    const divisor = Math.max(denominator, minimum);
    if (divisor === 0) continue;
    rows.forEach((key, j) => {
      for (let c = 0; c < e; c++) {
        add(out, row * e + c, (factor * entry(weights, j) * entry(values, key * e + c)) / divisor);
      }
    });
    if (!by) continue;
    let inner = 0;
    for (let c = 0; c < e; c++) inner += entry(by, row * e + c) * entry(out, row * e + c);
    add(gradTau, head, factor === 0 ? 0 : inner / factor);
    const gradDivisor = denominator > minimum ? -inner / divisor : 0;
    rows.forEach((key, j) => {
      let byWeight = gradDivisor;
      for (let c = 0; c < e; c++) {
        const grad = (factor * entry(by, row * e + c)) / divisor;
        byWeight += grad * entry(values, key * e + c);
        add(gradV, key * e + c, grad * entry(weights, j));
      }
      for (let c = 0; c < d; c++) {
        const [x, y] = [entry(queries, row * d + c), entry(keys, key * d + c)];
        if (x > 0) add(gradQ, row * d + c, byWeight * relu(y));
        if (y > 0) add(gradK, key * d + c, byWeight * relu(x));
      }
    });
  }
  const results = { out: tensor(out, [b, n, h, e]), denominator: tensor(denominators, [b, n, h]) };
  if (!by) return results;
  return {
    ...results,
    grad_q: tensor(gradQ, q.shape),
    grad_k: tensor(gradK, k.shape),
    grad_v: tensor(gradV, v.shape),
    ...(tau && { grad_tau: tensor(gradTau, tau.shape) }),
  };
}

/** The numbers of a local concentration module over c channels; kernels [7, 7, c], the rest [c]. */
export type LcmNumbers = Readonly<Record<'first' | 'firstBias' | 'gain' | 'bias' | 'second' | 'secondBias', Numbers>>;

type Numbers = ArrayLike<number>;

/** Convolution, GELU, batch normalisation by given or the batch's statistics, convolution; x [b, rows, columns, c]. */
export function lcmReference(
  x: Numbers,
  shape: readonly [b: number, rows: number, columns: number, c: number],
  weights: LcmNumbers,
  statistics?: { readonly mean: Numbers; readonly variance: Numbers },
): Float64Array {
  const channels = shape[3];
  const first = convolve(x, shape, weights.first, weights.firstBias).map((value) => value * normalShare(value));
  const normal = first.slice();
  for (let c = 0; c < channels; c++) {
    const column = first.filter((_, at) => at % channels === c);
    const own = column.reduce((sum, value) => sum + value, 0) / column.length;
    const mean = statistics ? entry(statistics.mean, c) : own;
    const variance = statistics
      ? entry(statistics.variance, c)
      : column.reduce((sum, value) => sum + (value - own) ** 2, 0) / column.length;
    for (let at = c; at < normal.length; at += channels) {
      normal[at] = ((entry(first, at) - mean) / Math.sqrt(variance + 1e-5)) * entry(weights.gain, c);
      add(normal, at, entry(weights.bias, c));
    }
  }
  return convolve(normal, shape, weights.second, weights.secondBias);
}

function convolve(
  x: Numbers,
  [, rows, columns, channels]: readonly [number, number, number, number],
  kernels: Numbers,
  bias: Numbers,
): Float64Array {
  const size = Math.sqrt(kernels.length / channels);
  const pad = (size - 1) / 2;
  return Float64Array.from(x, (_, at) => {
    const c = at % channels;
    const place = Math.floor(at / channels);
    const [column, row] = [place % columns, Math.floor(place / columns) % rows];
    const picture = Math.floor(place / columns / rows);
    let sum = entry(bias, c);
    for (let tap = 0; tap < size * size; tap++) {
      const y = row + Math.floor(tap / size) - pad;
      const z = column + (tap % size) - pad;
      if (y < 0 || y >= rows || z < 0 || z >= columns) continue;
      sum += entry(kernels, tap * channels + c) * entry(x, ((picture * rows + y) * columns + z) * channels + c);
    }
    return sum;
  });
}

/** The share of a standard normal distribution below x: its series, which holds for the |x| below 6 that tests have. */
function normalShare(x: number): number {
  let [term, sum] = [x, x];
  for (let k = 3; k < 200; k += 2) {
    term *= (x * x) / k;
    sum += term;
  }
  return 0.5 + (Math.exp(-x * x * 0.5) / Math.sqrt(2 * Math.PI)) * sum;
}

const relu = (x: number) => Math.max(0, x);

function entry(x: ArrayLike<number>, index: number): number {
  return x[index] as number;
}

function add(x: Float64Array, index: number, value: number): void {
  x[index] = entry(x, index) + value;
}

function tensor(data: Float64Array, shape: readonly number[]): HostTensor<'f64'> {
  return { dtype: 'f64', shape, data };
}
