/** What `l2vit` and the local concentration module compute, pair by pair and tap by tap in float64. */
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { add, at, pairSums, tensor, type Wide } from '../../reference';

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
  const [h, d] = q.shape.slice(2) as [number, number];
  const features = { q: mapped(q, relu), k: mapped(k, relu), v };
  const divide = (sum: number) => [Math.max(sum, minimum), sum > minimum ? 1 : 0] as const;
  const factors = tau ? toFloat64(tau) : new Float64Array(h).fill(scale ?? 1 / Math.sqrt(d));
  const factored = (x: HostTensor): Wide => {
    const e = x.shape[3] as number;
    return tensor(
      toFloat64(x).map((value, i) => value * at(factors, Math.floor(i / e) % h)),
      x.shape,
    );
  };
  const { out, sums, ...grads } = pairSums({ ...features, divide }, gradOut && factored(gradOut));
  const results = { out: factored(out), denominator: sums };
  if (!gradOut) return results;
  const through = (grad: Wide, x: HostTensor) => {
    const numbers = toFloat64(x);
    return tensor(
      grad.data.map((value, i) => (at(numbers, i) > 0 ? value : 0)),
      x.shape,
    );
  };
  const gradTau = new Float64Array(h);
  const e = out.shape[3] as number;
  toFloat64(gradOut).forEach((value, i) => {
    add(gradTau, Math.floor(i / e) % h, value * at(out.data, i));
  });
  return {
    ...results,
    grad_q: through(grads.gradQ, q),
    grad_k: through(grads.gradK, k),
    grad_v: grads.gradV,
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
  const first = convolve(x, shape, weights.first, weights.firstBias).map((value) => value * normalCdf(value));
  const normal = first.slice();
  for (let c = 0; c < channels; c++) {
    const column = first.filter((_, i) => i % channels === c);
    const own = column.reduce((sum, value) => sum + value, 0) / column.length;
    const mean = statistics ? at(statistics.mean, c) : own;
    const variance = statistics
      ? at(statistics.variance, c)
      : column.reduce((sum, value) => sum + (value - own) ** 2, 0) / column.length;
    for (let i = c; i < normal.length; i += channels) {
      normal[i] = ((at(first, i) - mean) / Math.sqrt(variance + 1e-5)) * at(weights.gain, c);
      add(normal, i, at(weights.bias, c));
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
  return Float64Array.from(x, (_, i) => {
    const c = i % channels;
    const place = Math.floor(i / channels);
    const [column, row] = [place % columns, Math.floor(place / columns) % rows];
    const picture = Math.floor(place / columns / rows);
    let sum = at(bias, c);
    for (let tap = 0; tap < size * size; tap++) {
      const y = row + Math.floor(tap / size) - pad;
      const z = column + (tap % size) - pad;
      if (y < 0 || y >= rows || z < 0 || z >= columns) continue;
      sum += at(kernels, tap * channels + c) * at(x, ((picture * rows + y) * columns + z) * channels + c);
    }
    return sum;
  });
}

/** The standard normal cumulative distribution by its series, which holds for the |x| below 6 that tests have. */
function normalCdf(x: number): number {
  let [term, sum] = [x, x];
  for (let k = 3; k < 200; k += 2) {
    term *= (x * x) / k;
    sum += term;
  }
  return 0.5 + (Math.exp(-x * x * 0.5) / Math.sqrt(2 * Math.PI)) * sum;
}

const relu = (x: number) => Math.max(0, x);

const mapped = (x: HostTensor, map: (value: number) => number) => tensor(toFloat64(x).map(map), x.shape);
