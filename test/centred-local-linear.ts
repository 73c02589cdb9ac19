/**
 * Local linear attention and its gradients in the centred form, one row after the other: keys from their mean under the weights,
 * as a parallax whose probe is the solution. Rounded to float32 after each operation it shows what float32 can do.
 */
import type { LocalLinearSettings } from '../src/index';

export interface LocalLinearExtents {
  readonly b: number;
  readonly n: number;
  readonly m: number;
  readonly g: number;
  readonly h: number;
  readonly d: number;
  readonly e: number;
}

type Numbers = Readonly<Record<string, ArrayLike<number>>>;
const range = (count: number) => Array.from({ length: count }, (_, at) => at);

/** From q, k, v, ridge [b, n, h] and gradOut; without the last no gradients. */
export function centredLocalLinear(
  { b, n, m, g, h, d, e }: LocalLinearExtents,
  { causal = false, scale = 1 / Math.sqrt(d) }: LocalLinearSettings,
  { q, k, v, ridge, gradOut }: Numbers,
  round: (x: number) => number = (x) => x,
): Record<'out' | 'lse' | 'solution' | 'gradQ' | 'gradK' | 'gradV' | 'gradRidgeRows', Float64Array> {
  const dot = (x: ArrayLike<number>, y: ArrayLike<number>) => {
    let sum = 0;
    for (let c = 0; c < x.length; c++) sum = round(sum + x[c]! * y[c]!);
    return sum;
  };
  const add = (to: number[] | Float64Array, at: number, factor: number, x: readonly number[]) => {
    for (let c = 0; c < x.length; c++) to[at + c] = round(to[at + c]! + factor * x[c]!);
  };
  const sumOf = (factors: readonly number[], rows: readonly (readonly number[])[], columns: number) => {
    const sum = range(columns).fill(0);
    rows.forEach((row, j) => {
      add(sum, 0, factors[j]!, row);
    });
    return sum;
  };
  const rowOf = (x: ArrayLike<number>, at: number, columns: number) => range(columns).map((c) => x[at * columns + c]!);
  const zeros = (...extents: number[]) => new Float64Array(extents.reduce((product, extent) => product * extent, 1));
  const [out, solution, lse] = [zeros(b, n, h, e), zeros(b, n, h, d), zeros(b, n, h)];
  const [gradQ, gradK, gradV, gradRidgeRows] = [
    zeros(b, n, h, d),
    zeros(b, m, g, d),
    zeros(b, m, g, e),
    zeros(b, n, h),
  ];
  for (let at = 0; at < b * n * h; at++) {
    const [head, i, batch] = [at % h, Math.floor(at / h) % n, Math.floor(at / (n * h))];
    const places = range(causal ? i + m - n + 1 : m).map((j) => (batch * m + j) * g + Math.floor((head * g) / h));
    const query = rowOf(q!, at, d);
    const keys = places.map((place) => rowOf(k!, place, d));
    const values = places.map((place) => rowOf(v!, place, e));
    const scores = keys.map((key) => round(round(scale) * dot(key, query)));
    const largest = Math.max(...scores);
    const shares = scores.map((score) => round(Math.exp(round(score - largest))));
    const total = shares.reduce((sum, share) => round(sum + share), 0);
    const p = shares.map((share) => round(share / total));
    lse[at] = round(largest + Math.log(total));
    const mean = sumOf(p, keys, d);
    const x = keys.map((key) => key.map((y, c) => round(y - mean[c]!)));
    const own = round(ridge![at]!);
    const matrix = range(d).map((r) => {
      const factors = x.map((row, j) => round(p[j]! * row[r]!));
      return sumOf(factors, x, d).map((y, c) => (c === r ? round(y + own) : y));
    });
    const solve = factorized(matrix, round);
    const r = solve(mean.map((y, c) => round(y - query[c]!)));
    solution.set(r, at * d);
    const F = x.map((row) => round(1 - dot(row, r)));
    const pF = F.map((factor, j) => round(p[j]! * factor));
    out.set(sumOf(pF, values, e), at * e);
    if (!gradOut) continue;

    const gradient = rowOf(gradOut, at, e);
    const products = values.map((value) => dot(gradient, value));
    const level = dot(p, products);
    const differences = products.map((product) => round(product - level));
    const u = solve(
      sumOf(
        differences.map((y, j) => round(p[j]! * y)),
        x,
        d,
      ),
    );
    gradRidgeRows[at] = dot(u, r);
    const constant = round(own * gradRidgeRows[at]!);
    const E = x.map((row, j) => round(differences[j]! - dot(row, u)));
    const dS = E.map((error, j) => round(p[j]! * round(round(error * F[j]!) + constant)));
    gradQ.set(u, at * d);
    add(gradQ, at * d, round(scale), sumOf(dS, x, d));
    places.forEach((place, j) => {
      add(gradK, place * d, round(scale * dS[j]!), query);
      add(gradK, place * d, -round(p[j]! * E[j]!), r);
      add(gradK, place * d, -pF[j]!, u);
      add(gradV, place * e, pF[j]!, gradient);
    });
  }
  return { out, lse, solution, gradQ, gradK, gradV, gradRidgeRows };
}

/** What solves systems of a positive definite matrix, by its Cholesky factor. */
function factorized(matrix: readonly number[][], round: (x: number) => number) {
  matrix.forEach((row, r) => {
    for (let c = 0; c <= r; c++) {
      let left = row[c]!;
      for (let x = 0; x < c; x++) left = round(left - row[x]! * matrix[c]![x]!);
      row[c] = round(c === r ? Math.sqrt(left) : left / matrix[c]![c]!);
    }
  });
  return (right: readonly number[]): number[] => {
    const x = [...right];
    matrix.forEach((row, r) => {
      for (let c = 0; c < r; c++) x[r] = round(x[r]! - row[c]! * x[c]!);
      x[r] = round(x[r]! / row[r]!);
    });
    for (let r = x.length - 1; r >= 0; r--) {
      for (let c = r + 1; c < x.length; c++) x[r] = round(x[r]! - matrix[c]![r]! * x[c]!);
      x[r] = round(x[r]! / matrix[r]![r]!);
    }
    return x;
  };
}
