/** The features of a random attention layer by plain loops in float64. */
import { type HostTensor, toFloat64 } from '../../../tensor/host';
import { addTo, dot, rowOf, type Wide, zeros } from '../../reference';

interface Params {
  readonly biased: boolean;
  readonly activation: 'relu' | 'softmax' | 'sigmoid';
}

/** out_r = sum_i a(x_0^T W_r x_i) x_i / n, of points with a 1 behind them; softmax is not divided. */
export function reference(
  { query, keys, weights }: Readonly<Record<'query' | 'keys' | 'weights', HostTensor>>,
  params: Params,
  gradOut?: HostTensor,
): Record<string, Wide> {
  const [b, n, d] = keys.shape as [number, number, number];
  const [r, w] = weights.shape as [number, number];
  const [queries, points, heads] = [query, keys, weights].map(toFloat64) as [Float64Array, Float64Array, Float64Array];
  const byOut = gradOut && toFloat64(gradOut);
  const out = zeros([b, r, w]);
  const [gradQuery, gradKeys, gradWeights] = [zeros([b, d]), zeros([b, n, d]), zeros([r, w, w])];
  const lifted = (x: Float64Array) => Float64Array.from([...x, 1]);
  for (let batch = 0; batch < b; batch++) {
    const asked = lifted(rowOf(queries, batch, d));
    const own = Array.from({ length: n }, (_, i) => lifted(rowOf(points, batch * n + i, d)));
    for (let head = 0; head < r; head++) {
      const matrix = Array.from({ length: w }, (_, row) => {
        const values = rowOf(heads, head * w + row, w).slice();
        if (params.biased && row < d) values[row]! += 1;
        return values;
      });
      const direction = new Float64Array(w);
      for (let row = 0; row < w; row++) addTo(direction, matrix[row]!, asked[row]!);
      const scores = own.map((point) => dot(direction, point));
      const { shares, slopesOf } = activated(scores, params.activation);
      const to = rowOf(out.data, batch * r + head, w);
      for (const [i, point] of own.entries()) addTo(to, point, shares[i]!);
      if (!byOut) continue;
      const by = rowOf(byOut, batch * r + head, w);
      const byScores = slopesOf(own.map((point) => dot(by, point)));
      const byDirection = new Float64Array(w);
      own.forEach((point, i) => {
        addTo(byDirection, point, byScores[i]!);
        const grad = rowOf(gradKeys.data, batch * n + i, d);
        addTo(grad, by.subarray(0, d), shares[i]!);
        addTo(grad, direction.subarray(0, d), byScores[i]!);
      });
      for (let row = 0; row < w; row++) {
        addTo(rowOf(gradWeights.data, head * w + row, w), byDirection, asked[row]!);
        if (row < d) gradQuery.data[batch * d + row]! += dot(matrix[row]!, byDirection);
      }
    }
  }
  if (!byOut) return { out };
  return { out, grad_query: gradQuery, grad_keys: gradKeys, grad_weights: gradWeights };
}

/** What keys weigh, and gradients with respect to scores from those with respect to the weights. */
function activated(scores: readonly number[], activation: Params['activation']) {
  const n = scores.length;
  if (activation === 'softmax') {
    const largest = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - largest));
    const sum = powers.reduce((a, c) => a + c, 0);
    const shares = powers.map((power) => power / sum);
    return {
      shares,
      slopesOf(by: readonly number[]) {
        const mean = shares.reduce((total, share, i) => total + share * by[i]!, 0);
        return shares.map((share, i) => share * (by[i]! - mean));
      },
    };
  }
  const isRelu = activation === 'relu';
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  const slope = (x: number) => (isRelu ? Number(x > 0) : sigmoid(x) * (1 - sigmoid(x)));
  return {
    shares: scores.map((score) => (isRelu ? Math.max(0, score) : sigmoid(score)) / n),
    slopesOf: (by: readonly number[]) => scores.map((score, i) => (slope(score) * by[i]!) / n),
  };
}
