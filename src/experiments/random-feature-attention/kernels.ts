/** Kernels of a random attention layer and of a random network with infinitely many heads or neurons, by plain loops. */
import { dot, rowOf } from '../vectors';

/** Samples of a query and n keys of d numbers each: [count, n + 1, d], the query first. */
export interface Samples {
  readonly data: Float64Array;
  readonly count: number;
  readonly n: number;
  readonly d: number;
}

/** E relu(u) relu(v) of unit variances and correlation rho: half the arc-cosine kernel of order 1. */
function reluKernel(rho: number): number {
  const c = Math.max(-1, Math.min(1, rho));
  return (Math.sqrt(1 - c * c) + c * (Math.PI - Math.acos(c))) / (2 * Math.PI);
}

/** Each token with a 1 behind it, of length sqrt(2) where the token's is 1. */
function lifted({ data, count, n, d }: Samples): Float64Array {
  const out = new Float64Array(count * (n + 1) * (d + 1));
  for (let token = 0; token < count * (n + 1); token++) {
    out.set(rowOf(data, token, d), token * (d + 1));
    out[token * (d + 1) + d] = 1;
  }
  return out;
}

/** K [a.count, b.count] by what it is of two samples, each of whose rows has `width` numbers. */
function matrixOf(
  a: Float64Array,
  b: Float64Array,
  width: number,
  of: (x: Float64Array, y: Float64Array) => number,
): Float64Array {
  const [rows, columns] = [a.length / width, b.length / width];
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      out[i * columns + j] = a === b && j < i ? out[j * columns + i]! : of(rowOf(a, i, width), rowOf(b, j, width));
  return out;
}

/** (1/n^2) sum over keys i, j of k(rho_ij) <x_i, y_j>, rho_ij = <x_0, y_0> <x_i, y_j> / 4, of lifted tokens of length sqrt(2). */
export function attentionKernel(x: Samples, y: Samples): Float64Array {
  const { n, d } = x;
  const own = lifted(x);
  return matrixOf(own, x === y ? own : lifted(y), (n + 1) * (d + 1), (a, b) => {
    const queries = dot(rowOf(a, 0, d + 1), rowOf(b, 0, d + 1)) / 4;
    let total = 0;
    for (let i = 1; i <= n; i++)
      for (let j = 1; j <= n; j++) {
        let keys = 0;
        for (let c = 0, from = i * (d + 1), to = j * (d + 1); c <= d; c++) keys += a[from + c]! * b[to + c]!;
        total += reluKernel(queries * keys) * keys;
      }
    return total / (n * n);
  });
}

/** That of a network on all tokens in a row and a 1, weights N(0, 1 / (n + 2)). */
export function networkKernel(x: Samples, y: Samples): Float64Array {
  const size = x.n + 2;
  return matrixOf(x.data, y.data, (x.n + 1) * x.d, (a, b) => reluKernel((dot(a, b) + 1) / size));
}
