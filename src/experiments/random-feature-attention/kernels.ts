/** Kernels of a random attention layer and of a random network with infinitely many heads or neurons, by plain loops. */
import { checkKernel } from '../../kernels/kernel';
import { wideMatrix } from '../../kernels/wide';
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

/** That of a layer of attention. */
export const attentionKernel = (x: Samples, y: Samples): Float64Array =>
  wideMatrix(checkKernel({ kernel: 'attention', width: x.d }), pointsOf(x), pointsOf(y));

const pointsOf = ({ data, count, n, d }: Samples) => ({ data, count, width: (n + 1) * d });

/** That of a network on all tokens in a row and a 1, weights N(0, 1 / (n + 2)). */
export function networkKernel(x: Samples, y: Samples): Float64Array {
  const size = x.n + 2;
  return matrixOf(x.data, y.data, (x.n + 1) * x.d, (a, b) => reluKernel((dot(a, b) + 1) / size));
}
