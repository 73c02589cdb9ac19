/** Linear regression in context, what Parallax makes of it, and the systems that probes are solved from. */
import { parallax } from '../../ops/parallax';
import type { Runtime } from '../../runtime/runtime';
import { normal } from '../../tensor/random';
import { held, numbersOf } from '../held';
import { normaliseRows } from '../vectors';

const KEYS = 128;
const NOISE = 0.05;

/** Means of values and keys under a query's weights, covariances of values and keys and of keys, row-major. */
export interface Moments {
  readonly mean: Float64Array;
  readonly covariance: Float64Array;
  readonly keyMean: Float64Array;
  readonly keyCovariance: Float64Array;
  readonly query: Float64Array;
  readonly target: Float64Array;
}

/** Sequences of keys and values [sequences, 128, d], a query each, and what a linear map of its own makes of that. */
export function regressions({ sequences, d, seed }: Record<'sequences' | 'd' | 'seed', number>) {
  const random = (count: number, at: number) => normal(count, 10 * seed + at);
  const maps = random(sequences * d * d, 1).map((x) => x / Math.sqrt(d));
  const keys = normaliseRows(random(sequences * KEYS * d, 2), d);
  const queries = normaliseRows(random(sequences * d, 3), d);
  const noise = random(sequences * KEYS * d, 4);
  const mapped = (x: Float32Array, rows: number) =>
    x.map((_, at) => {
      const [row, c] = [Math.floor(at / d), at % d];
      const map = Math.floor(row / rows) * d * d + c * d;
      let sum = 0;
      for (let a = 0; a < d; a++) sum += maps[map + a]! * x[row * d + a]!;
      return sum;
    });
  const values = mapped(keys, KEYS).map((x, at) => x + NOISE * noise[at]!);
  return { sequences, d, keys, values, queries, targets: mapped(queries, 1) };
}

/** Computed by the op itself, whose result is the mean less the covariance times r: with r = 0, and with r each unit vector. */
export async function momentsOf(
  runtime: Runtime,
  problem: ReturnType<typeof regressions>,
  scale: number,
): Promise<Moments[]> {
  const { sequences, d, keys, values, queries, targets } = problem;
  const rows = d + 1;
  const probes = new Float32Array(sequences * rows * d);
  const repeated = new Float32Array(probes.length);
  for (let at = 0; at < sequences; at++)
    for (let row = 0; row < rows; row++) {
      repeated.set(queries.subarray(at * d, (at + 1) * d), (at * rows + row) * d);
      if (row > 0) probes[(at * rows + row) * d + row - 1] = 1;
    }
  const [q, r] = [repeated, probes].map((x) => runtime.tensor(x, [sequences, rows, 1, d]));
  const [k, v] = [keys, values].map((x) => runtime.tensor(x, [sequences, KEYS, 1, d]));
  using _ = held([q, r, k, v]);
  const ofValues = await numbersOf(runtime, () => parallax(q!, r!, k!, v!, { scale }).out);
  const ofKeys = await numbersOf(runtime, () => parallax(q!, r!, k!, k!, { scale }).out);
  const part = (x: Float64Array, row: number) => x.slice(row * d, (row + 1) * d);
  /** Row-major, from the results with each unit vector. */
  const covariance = (x: Float64Array, at: number) =>
    Float64Array.from({ length: d * d }, (_, place) => {
      const [c, a] = [Math.floor(place / d), place % d];
      return x[at * rows * d + c]! - x[(at * rows + 1 + a) * d + c]!;
    });
  return Array.from({ length: sequences }, (_, at) => ({
    mean: part(ofValues, at * rows),
    covariance: covariance(ofValues, at),
    keyMean: part(ofKeys, at * rows),
    keyCovariance: covariance(ofKeys, at),
    query: Float64Array.from(queries.subarray(at * d, (at + 1) * d)),
    target: Float64Array.from(targets.subarray(at * d, (at + 1) * d)),
  }));
}

/** The solution of matrix x = rhs for a symmetric positive definite matrix, row-major: by its Cholesky factor. */
export function solve(matrix: Float64Array, rhs: Float64Array): Float64Array {
  const n = rhs.length;
  const factor = matrix.slice();
  const at = (row: number, column: number) => factor[row * n + column]!;
  const x = rhs.slice();
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = at(i, j);
      for (let c = 0; c < j; c++) sum -= at(i, c) * at(j, c);
      factor[i * n + j] = i === j ? Math.sqrt(sum) : sum / at(j, j);
    }
    for (let c = 0; c < i; c++) x[i] = x[i]! - at(i, c) * x[c]!;
    x[i] = x[i]! / at(i, i);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let c = i + 1; c < n; c++) x[i] = x[i]! - at(c, i) * x[c]!;
    x[i] = x[i]! / at(i, i);
  }
  return x;
}
