/** Shared by references in float64: plain loops over rows of numbers, and sums of values by weights of pairs. */
import { type HostTensor, toFloat64 } from '../tensor/host';
import { add, addTo, at, dot, dotAt, rowOf, tensor, type Wide, zeros } from '../tensor/wide';

export { add, addTo, at, dot, rowOf, tensor, type Wide, zeros };

/** The key rows that a row of queries [b, n, h] may see among [b, m, g], from key `first` to the one before `past`. */
function keyRows(row: number, { n, h, m, g }: Extents, first = 0, past = m): number[] {
  const [head, batch] = [row % h, Math.floor(row / h / n)];
  return Array.from({ length: past - first }, (_, j) => (batch * m + first + j) * g + Math.floor((head * g) / h));
}

type Extents = Readonly<Record<'n' | 'h' | 'm' | 'g', number>>;

export interface PairSums {
  /** Features of queries [b, n, h, f], features of keys [b, m, g, f] and values [b, m, g, e]. */
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
  readonly scale?: number;
  /** Whether weights below 0 count as 0. */
  readonly relu?: boolean;
  /** The keys that query i sees, from the first to the one before the second number; default: all. */
  keys?(i: number): readonly [first: number, past: number];
  /** The divisor of a row by the sum of its weights, and its derivative by that sum; default: 1. */
  divide?(sum: number): readonly [divisor: number, slope: number];
}

/**
 * out_i = sum_j w_ij v_j / divisor_i for w_ij = scale (q_i . k_j), a row of zeros where the divisor is 0, and the sums of
 * weights [b, n, h]; with `gradOut` the gradients with respect to q, k and v too.
 */
export function pairSums(spec: PairSums, gradOut?: HostTensor) {
  const { scale = 1, relu = false, keys = () => [0, m] as const, divide = () => [1, 0] as const } = spec;
  const [b, n, h, f] = spec.q.shape as [number, number, number, number];
  const [, m, g, e] = spec.v.shape as [number, number, number, number];
  const [q, k, v] = [spec.q, spec.k, spec.v].map(toFloat64) as [Float64Array, Float64Array, Float64Array];
  const [out, sums] = [zeros([b, n, h, e]), zeros([b, n, h])];
  const [gradQ, gradK, gradV] = [zeros(spec.q.shape), zeros(spec.k.shape), zeros(spec.v.shape)];
  const byOut = gradOut && toFloat64(gradOut);
  for (let row = 0; row < b * n * h; row++) {
    const seen = keyRows(row, { n, h, m, g }, ...keys(Math.floor(row / h) % n));
    const weights = seen.map((key) => {
      const weight = scale * dotAt(q, row * f, k, key * f, f);
      return relu ? Math.max(0, weight) : weight;
    });
    const sum = weights.reduce((total, weight) => total + weight, 0);
    sums.data[row] = sum;
    const [divisor, slope] = divide(sum);
    if (divisor === 0) continue;
    const result = rowOf(out.data, row, e);
    for (const [j, key] of seen.entries()) addTo(result, rowOf(v, key, e), at(weights, j) / divisor);
    if (!byOut) continue;
    const by = rowOf(byOut, row, e);
    const bySum = slope === 0 ? 0 : (-slope * dot(by, result)) / divisor;
    for (const [j, key] of seen.entries()) {
      addTo(rowOf(gradV.data, key, e), by, at(weights, j) / divisor);
      if (relu && weights[j] === 0) continue;
      const byProduct = scale * (bySum + dot(by, rowOf(v, key, e)) / divisor);
      addTo(rowOf(gradQ.data, row, f), rowOf(k, key, f), byProduct);
      addTo(rowOf(gradK.data, key, f), rowOf(q, row, f), byProduct);
    }
  }
  return { out, sums, gradQ, gradK, gradV };
}
