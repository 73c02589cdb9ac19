/** Local linear attention and its gradients in float64, in the shifted form: keys from the query, weights not normalised. */
import { type HostTensor, toFloat64 } from '../../tensor/host';
import { dot, rowOf, zeros } from '../../tensor/wide';

type Numbers = Float64Array;

export interface RegressionInputs {
  /** [b,n,h,d]. */
  readonly q: HostTensor;
  /** [b,m,g,d]. */
  readonly k: HostTensor;
  /** [b,m,g,e]. */
  readonly v: HostTensor;
  /** [b,n,h]: in place of `ridge`. */
  readonly ridgeRows?: HostTensor | undefined;
}

export interface RegressionSettings {
  readonly ridge: number;
  readonly causal: boolean;
  readonly scale: number;
}

type Result = 'out' | 'lse' | 'solution' | 'residual';
type Gradient = 'gradQ' | 'gradK' | 'gradV' | 'gradRidgeRows' | 'residual';

/**
 * out [b,n,h,e], lse [b,n,h]; the solution [b,n,h,d] of the system from the mean of the keys; and the residual [b,n,h], 0, or
 * Infinity where a system is singular.
 */
export function localLinear(inputs: RegressionInputs, settings: RegressionSettings): Record<Result, HostTensor<'f64'>> {
  const [b, n, h, d] = inputs.q.shape as [number, number, number, number];
  const e = inputs.v.shape[3] as number;
  const values = toFloat64(inputs.v);
  const [out, solution] = [zeros([b, n, h, e]), zeros([b, n, h, d])];
  const [lse, residual] = [zeros([b, n, h]), zeros([b, n, h])];
  lse.data.fill(Number.NEGATIVE_INFINITY);
  for (const row of rowsOf(inputs, settings)) {
    const { at, keys, weights, zs, mu, omega, rho, delta } = row;
    keys.forEach((key, j) => {
      const weight = (weights[j]! * (1 - dot(zs[j]!, rho))) / delta;
      for (let c = 0; c < e; c++) out.data[at * e + c]! += weight * values[key * e + c]!;
    });
    const factor = omega / (omega - dot(mu, rho));
    for (let c = 0; c < d; c++) solution.data[at * d + c] = factor * rho[c]!;
    lse.data[at] = row.lse;
    if (row.isSingular) residual.data[at] = Number.POSITIVE_INFINITY;
  }
  return { out, lse, solution, residual };
}

/** Gradients of a loss with respect to the inputs, from that with respect to out. */
export function localLinearBackward(
  inputs: RegressionInputs,
  gradOut: HostTensor,
  settings: RegressionSettings,
  stopGradRidge = false,
): Record<Gradient, HostTensor<'f64'>> {
  const { scale } = settings;
  const [b, n, h, d] = inputs.q.shape as [number, number, number, number];
  const e = inputs.v.shape[3] as number;
  const [queries, keyNumbers, values, byOut] = [inputs.q, inputs.k, inputs.v, gradOut].map(toFloat64) as [
    Numbers,
    Numbers,
    Numbers,
    Numbers,
  ];
  const [gradQ, gradK, gradV] = [zeros(inputs.q.shape), zeros(inputs.k.shape), zeros(inputs.v.shape)];
  const [gradRidgeRows, residual] = [zeros([b, n, h]), zeros([b, n, h])];
  for (const { at, keys, weights, zs, omega, rho, delta, ridge, solve, isSingular } of rowsOf(inputs, settings)) {
    const q = rowOf(queries, at, d);
    const g = rowOf(byOut, at, e);
    const products = keys.map((key) => dot(g, rowOf(values, key, e)));
    const reaches = zs.map((z) => dot(z, rho));
    const shares = keys.map((_, j) => (weights[j]! * (1 - reaches[j]!)) / delta);
    const beta = keys.reduce((sum, _, j) => sum + products[j]! * shares[j]!, 0) / delta;
    const pulls = keys.map((_, j) => (products[j]! * weights[j]!) / delta);
    const u = solve(sumOf(pulls, zs, d));
    const dm = rho.map((x, c) => 2 * beta * x - u[c]!);
    const a = rho.map((x, c) => beta * x - u[c]!);
    const byOmega = stopGradRidge ? 0 : ridge * dot(a, rho);
    keys.forEach((key, j) => {
      const z = zs[j]!;
      const [w, zr, za] = [weights[j]!, reaches[j]!, dot(z, a)];
      const byWeight = (products[j]! * (1 - zr)) / delta - beta + dot(z, dm) - za * zr - byOmega;
      const byScore = w * byWeight;
      for (let c = 0; c < d; c++) {
        const byZ = -pulls[j]! * rho[c]! + w * (dm[c]! - zr * a[c]! - za * rho[c]!);
        gradK.data[key * d + c]! += scale * byScore * q[c]! + byZ;
        gradQ.data[at * d + c]! += scale * byScore * keyNumbers[key * d + c]! - byZ;
      }
      for (let c = 0; c < e; c++) gradV.data[key * e + c]! += shares[j]! * g[c]!;
    });
    gradRidgeRows.data[at] = -omega * dot(a, rho);
    if (isSingular) residual.data[at] = Number.POSITIVE_INFINITY;
  }
  return { gradQ, gradK, gradV, gradRidgeRows, residual };
}

/** A query that sees a key: its row in [b, n, h], the rows in [b, m, g] of these keys, and the regression at it. */
interface Row {
  readonly at: number;
  readonly keys: readonly number[];
  /** e^(score - largest). */
  readonly weights: readonly number[];
  readonly lse: number;
  /** Keys less the query, their weighted sum, and the sum of the weights. */
  readonly zs: readonly Numbers[];
  readonly mu: Numbers;
  readonly omega: number;
  readonly ridge: number;
  /** The solution of (sum w z z^T + ridge omega) rho = mu, and what of a value counts by its key's distance. */
  readonly rho: Numbers;
  readonly delta: number;
  readonly isSingular: boolean;
  solve(right: Numbers): Numbers;
}

function* rowsOf({ q, k, ridgeRows }: RegressionInputs, settings: RegressionSettings): Generator<Row> {
  const { causal, scale } = settings;
  const [b, n, h, d] = q.shape as [number, number, number, number];
  const [, m, g] = k.shape as [number, number, number];
  const [queries, keyNumbers] = [toFloat64(q), toFloat64(k)];
  const ridges = ridgeRows && toFloat64(ridgeRows);
  for (let at = 0; at < b * n * h; at++) {
    const [batch, i, head] = [Math.floor(at / (n * h)), Math.floor(at / h) % n, at % h];
    const seen = causal ? Math.max(0, i + m - n + 1) : m;
    if (seen === 0) continue;
    const group = Math.floor((head * g) / h);
    const query = rowOf(queries, at, d);
    const keys = Array.from({ length: Math.min(m, seen) }, (_, j) => (batch * m + j) * g + group);
    const rows = keys.map((key) => rowOf(keyNumbers, key, d));
    const scores = rows.map((key) => scale * dot(query, key));
    const largest = scores.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
    const weights = scores.map((score) => Math.exp(score - largest));
    const omega = weights.reduce((sum, weight) => sum + weight, 0);
    const ridge = ridges?.[at] ?? settings.ridge;
    const zs = rows.map((key) => key.map((x, c) => x - query[c]!));
    const mu = sumOf(weights, zs, d);
    const { solve, isSingular } = factorize(weights, zs, ridge * omega, d);
    const rho = solve(mu);
    const delta = omega - dot(mu, rho);
    const lse = largest + Math.log(omega);
    // Without a ridge, keys that do not span the space leave no weight at all to the value at the query.
    const isLost = isSingular || Math.abs(delta) <= 1e-12 * omega;
    yield { at, keys, weights, lse, zs, mu, omega, ridge, rho, delta, isSingular: isLost, solve };
  }
}

/** LU factors, with pivots, of sum w z z^T + ridge. */
function factorize(weights: readonly number[], zs: readonly Numbers[], ridge: number, d: number) {
  const matrix = Array.from({ length: d }, (_, r) => new Float64Array(d).fill(ridge, r, r + 1));
  zs.forEach((z, j) => {
    for (let r = 0; r < d; r++) for (let c = 0; c < d; c++) matrix[r]![c]! += weights[j]! * z[r]! * z[c]!;
  });
  const size = matrix.reduce((most, row) => Math.max(most, ...row.map(Math.abs)), 0);
  const order = Array.from({ length: d }, (_, r) => r);
  let isSingular = false;
  for (let c = 0; c < d; c++) {
    for (let r = c + 1; r < d; r++) {
      if (Math.abs(matrix[r]![c]!) <= Math.abs(matrix[c]![c]!)) continue;
      [matrix[c], matrix[r]] = [matrix[r]!, matrix[c]!];
      [order[c], order[r]] = [order[r]!, order[c]!];
    }
    if (Math.abs(matrix[c]![c]!) <= d * 2 ** -52 * size) isSingular = true;
    for (let r = c + 1; r < d; r++) {
      const factor = matrix[r]![c]! / matrix[c]![c]!;
      matrix[r]![c] = factor;
      for (let x = c + 1; x < d; x++) matrix[r]![x]! -= factor * matrix[c]![x]!;
    }
  }
  const solve = (right: Numbers): Numbers => {
    const x = Float64Array.from(order, (from) => right[from]!);
    for (let r = 0; r < d; r++) for (let c = 0; c < r; c++) x[r]! -= matrix[r]![c]! * x[c]!;
    for (let r = d - 1; r >= 0; r--) {
      for (let c = r + 1; c < d; c++) x[r]! -= matrix[r]![c]! * x[c]!;
      x[r]! /= matrix[r]![r]!;
    }
    return x;
  };
  return { solve, isSingular };
}

function sumOf(factors: readonly number[], rows: readonly Numbers[], d: number): Numbers {
  const sum = new Float64Array(d);
  rows.forEach((row, j) => {
    for (let c = 0; c < d; c++) sum[c]! += factors[j]! * row[c]!;
  });
  return sum;
}
