import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { addTo, at, dot, rowOf, zeros } from '../../reference';

interface Inputs {
  readonly q: HostTensor;
  readonly k: HostTensor;
  readonly v: HostTensor;
}

interface Params {
  readonly threshold: number | readonly number[];
  readonly windowShare: number;
  readonly window: 'block' | 'sliding';
  readonly sink: number;
  readonly scale?: number | undefined;
}

/** Scores by running sums of the products with differences, as the sheet has them. */
export function reference({ q, k, v }: Inputs, params: Params): Record<string, HostTensor<'f64'>> {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [g, e] = v.shape.slice(2) as [number, number];
  const { scale = 1 / Math.sqrt(d) } = params;
  const w = Math.round(params.windowShare * n);
  const [queries, keys, values] = [q, k, v].map(toFloat64) as [Float64Array, Float64Array, Float64Array];
  const [out, sparsity] = [zeros([b, n, h, e]), zeros([b, g])];
  const isExact = (i: number, j: number) => {
    if (j < params.sink) return true;
    if (params.window === 'sliding') return i - w <= j && j <= i;
    const block = Math.floor(i / w) * w;
    return w > 0 && block <= j && j < block + w;
  };
  for (let batch = 0; batch < b; batch++) {
    for (let head = 0; head < g; head++) {
      const threshold = typeof params.threshold === 'number' ? params.threshold : at(params.threshold, head);
      const own = Array.from({ length: n }, (_, j) => rowOf(keys, (batch * n + j) * g + head, d));
      const deltas = deltasOf(own, threshold);
      const none = deltas.reduce((sum, row) => sum + row.filter((x) => x === 0).length, 0);
      sparsity.data[batch * g + head] = none / (n * d);
      for (let shared = (head * h) / g; shared < ((head + 1) * h) / g; shared++) {
        for (let i = 0; i < n; i++) {
          const query = rowOf(queries, (batch * n + i) * h + shared, d);
          let running = 0;
          const scores = own.slice(0, i + 1).map((key, j) => {
            running += dot(query, deltas[j] as Float64Array);
            return scale * (isExact(i, j) ? dot(query, key) : running);
          });
          const most = scores.reduce((x, y) => Math.max(x, y));
          const weights = scores.map((score) => Math.exp(score - most));
          const sum = weights.reduce((x, y) => x + y);
          const row = rowOf(out.data, (batch * n + i) * h + shared, e);
          for (const [j, weight] of weights.entries())
            addTo(row, rowOf(values, (batch * n + j) * g + head, e), weight / sum);
        }
      }
    }
  }
  return { out, sparsity };
}

function deltasOf(keys: readonly Float64Array[], threshold: number): Float64Array[] {
  const held = Float64Array.from(keys[0] as Float64Array);
  return keys.map((key, j) =>
    key.map((x, c) => {
      if (j === 0) return x;
      const change = x - at(held, c);
      if (Math.abs(change) <= threshold) return 0;
      held[c] = x;
      return change;
    }),
  );
}
