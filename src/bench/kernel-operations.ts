/** Kernel matrices and linear algebra, on matrices whose answers are known without computing them. */
import { kernelMatrix, kernelProduct } from '../kernels';
import { cast } from '../ops/copy';
import { cholesky, eigh, solve } from '../ops/linalg';
import { matmul } from '../ops/matmul';
import type { Runtime } from '../runtime/runtime';
import { type HostTensor, hostTensor } from '../tensor/host';
import { normal } from '../tensor/random';
import { type Shape, sizeOf } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { known, knownRows, someOf } from './expected';
import { joined } from './operation';
import type { Operation, Problem } from './problem';

type Tensors = Readonly<Record<string, Tensor>>;
type Extents = Pick<Problem, 'n' | 'd'>;

interface Definition {
  readonly label: string;
  /** How the time grows with n; default 2. */
  readonly growth?: number;
  readonly flops: (n: number, d: number) => number;
  readonly given: (extents: Extents) => Readonly<Record<string, HostTensor<'f32'>>>;
  readonly shape: (n: number, d: number) => Shape;
  /** Rows of the result [rows, columns], or all of it where it is one row. */
  readonly expected: (extents: Extents, rows: readonly number[]) => Float64Array;
  /** The result, and what else is to be disposed. */
  readonly run: (given: Tensors) => Tensor | readonly Tensor[];
  /** The element type in which it is computed; default f32. */
  readonly dtype?: 'f32' | 'f64';
}

const COLUMNS = 64;
/** With it kernels of normal points are neither 0 nor 1. */
const bandwidthOf = (d: number) => Math.sqrt(d);
const pointsOf = ({ n, d }: Extents): Readonly<Record<'x' | 'y', HostTensor<'f32'>>> => ({
  x: hostTensor(normal(n * d, 1), [n, d]),
  y: hostTensor(normal(n * d, 2), [n, d]),
});
const factorsOf = ({ n }: Extents): HostTensor<'f32'> => hostTensor(normal(n * COLUMNS, 3), [n, COLUMNS]);

type Form = (a: Float32Array, b: Float32Array) => number;
const sumOf = (a: Float32Array, b: Float32Array, term: (x: number, y: number) => number) =>
  a.reduce((sum, x, k) => sum + term(x, b[k] as number), 0);
const FORMS: Readonly<Record<'linear' | 'gaussian' | 'laplace', (d: number) => Form>> = {
  linear: () => (a, b) => sumOf(a, b, (x, y) => x * y),
  gaussian: (d) => (a, b) => Math.exp(-sumOf(a, b, (x, y) => (x - y) ** 2) / (2 * bandwidthOf(d) ** 2)),
  laplace: (d) => (a, b) => Math.exp(-sumOf(a, b, (x, y) => Math.abs(x - y)) / d),
};

/** Rows of the matrix of a form, in float64. */
function rowsOfForm(form: keyof typeof FORMS, extents: Extents, rows: readonly number[]): Float64Array[] {
  const { x, y } = pointsOf(extents);
  const { n, d } = extents;
  const row = (points: HostTensor<'f32'>, at: number) => points.data.subarray(at * d, (at + 1) * d) as Float32Array;
  const of = FORMS[form](d);
  return rows.map((i) => Float64Array.from({ length: n }, (_, j) => of(row(x, i), row(y, j))));
}

/** Points [n, d], and the kernel matrix of both, or its product with [n, 64]. */
const kernelOf = (name: 'gaussian' | 'laplace', isProduct: boolean): Definition => ({
  label: `${name} kernel ${isProduct ? `product, ${COLUMNS} columns` : 'matrix'}`,
  flops: (n, d) => 2 * n * n * (d + (isProduct ? COLUMNS : 0)),
  given: (extents) => ({ ...pointsOf(extents), ...(isProduct && { v: factorsOf(extents) }) }),
  shape: (n) => [n, isProduct ? COLUMNS : n],
  expected(extents, rows) {
    const matrix = rowsOfForm(name, extents, rows);
    if (!isProduct) return Float64Array.from(matrix.flatMap((row) => [...row]));
    const { data } = factorsOf(extents);
    return Float64Array.from(
      matrix.flatMap((row) =>
        Array.from({ length: COLUMNS }, (_, c) =>
          row.reduce((sum, value, j) => sum + value * (data[j * COLUMNS + c] as number), 0),
        ),
      ),
    );
  },
  run({ x, y, v }) {
    const d = (x as Tensor).shape[1] as number;
    const kernel = { kernel: name, bandwidth: name === 'gaussian' ? bandwidthOf(d) : d };
    return v ? kernelProduct(kernel, x as Tensor, y as Tensor, v) : kernelMatrix(kernel, x as Tensor, y as Tensor);
  },
});

/** L of n rows: u_i v_j below the diagonal. */
function factorOf(n: number) {
  const [u, v, more] = [1, 2, 3].map((seed) => Float64Array.from(normal(n, seed))) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const diagonal = more.map((value) => 1 + Math.abs(value) / 4);
  // So that its condition is small, and rounding the matrix to f32 changes little.
  const scaled = (x: Float64Array) => x.map((value) => value / Math.sqrt(n));
  return { u: scaled(u), v: scaled(v), diagonal };
}

/** L L^T, by sums of squares of v. */
function definiteOf(n: number): HostTensor<'f32'> {
  const { u, v, diagonal } = factorOf(n);
  const data = new Float32Array(n * n);
  for (let j = 0, sum = 0; j < n; j++) {
    const [uj, vj, dj] = [u[j], v[j], diagonal[j]] as [number, number, number];
    data[j * n + j] = uj * uj * sum + dj * dj;
    for (let i = j + 1; i < n; i++) data[i * n + j] = data[j * n + i] = (u[i] as number) * (uj * sum + vj * dj);
    sum += vj * vj;
  }
  return hostTensor(data, [n, n]);
}

/** L L^T x, x [n, 64] of solutions. */
function rightOf(n: number): HostTensor<'f32'> {
  const { u, v, diagonal } = factorOf(n);
  const x = factorsOf({ n, d: 0 }).data;
  const data = new Float32Array(n * COLUMNS);
  for (let c = 0; c < COLUMNS; c++) {
    const y = new Float64Array(n);
    for (let j = n - 1, sum = 0; j >= 0; j--) {
      y[j] = (diagonal[j] as number) * (x[j * COLUMNS + c] as number) + (v[j] as number) * sum;
      sum += (u[j] as number) * (x[j * COLUMNS + c] as number);
    }
    for (let i = 0, sum = 0; i < n; i++) {
      data[i * COLUMNS + c] = (diagonal[i] as number) * (y[i] as number) + (u[i] as number) * sum;
      sum += (v[i] as number) * (y[i] as number);
    }
  }
  return hostTensor(data, [n, COLUMNS]);
}

const choleskyIn = (dtype: 'f32' | 'f64'): Definition => ({
  label: `Cholesky factor in ${dtype}`,
  growth: 3,
  flops: (n) => n ** 3 / 3,
  given: ({ n }) => ({ a: definiteOf(n) }),
  shape: (n) => [n, n],
  expected({ n }, rows) {
    const { u, v, diagonal } = factorOf(n);
    return Float64Array.from(
      rows.flatMap((i) =>
        Array.from({ length: n }, (_, j) =>
          j > i ? 0 : j === i ? (diagonal[i] as number) : (u[i] as number) * (v[j] as number),
        ),
      ),
    );
  },
  run: ({ a }) => cholesky(a as Tensor),
  dtype,
});

const eigenvaluesOf = (n: number) => Float64Array.from({ length: n }, (_, i) => (i + 1) / n);

/** H D H with a reflection H = I - 2 w w^T and D of eigenvalues. */
function reflectedOf(n: number): HostTensor<'f32'> {
  const values = eigenvaluesOf(n);
  const draw = Float64Array.from(normal(n, 4));
  const length = Math.sqrt(draw.reduce((sum, value) => sum + value * value, 0));
  const w = draw.map((value) => value / length);
  const image = w.map((value, i) => value * (values[i] as number));
  const middle = 4 * w.reduce((sum, value, i) => sum + value * (image[i] as number), 0);
  const data = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const [wi, wj, di, dj] = [w[i], w[j], image[i], image[j]] as [number, number, number, number];
      data[i * n + j] = (i === j ? (values[i] as number) : 0) - 2 * (wi * dj + di * wj) + middle * wi * wj;
    }
  }
  return hostTensor(data, [n, n]);
}

/** By the names that peers know them by. */
const OPERATIONS = {
  product: {
    label: 'matmul x y^T',
    flops: (n, d) => 2 * n * n * d,
    given: pointsOf,
    shape: (n) => [n, n],
    expected: (extents, rows) => Float64Array.from(rowsOfForm('linear', extents, rows).flatMap((row) => [...row])),
    run: ({ x, y }) => matmul(x as Tensor, y as Tensor, { transposeB: true }),
  },
  gaussian: kernelOf('gaussian', false),
  'gaussian-product': kernelOf('gaussian', true),
  laplace: kernelOf('laplace', false),
  'laplace-product': kernelOf('laplace', true),
  cholesky: choleskyIn('f32'),
  'cholesky-f64': choleskyIn('f64'),
  solve: {
    label: `positive definite system, ${COLUMNS} right-hand sides`,
    growth: 3,
    flops: (n) => n ** 3 / 3 + 2 * n * n * COLUMNS,
    given: ({ n }) => ({ a: definiteOf(n), b: rightOf(n) }),
    shape: (n) => [n, COLUMNS],
    expected({ n }, rows) {
      const { data } = factorsOf({ n, d: 0 });
      return Float64Array.from(rows.flatMap((i) => [...data.subarray(i * COLUMNS, (i + 1) * COLUMNS)]));
    },
    run: ({ a, b }) => solve(a as Tensor, b as Tensor, { assume: 'positive-definite' }),
  },
  eigh: {
    label: 'eigenvalues and eigenvectors',
    growth: 3,
    flops: (n) => 9 * n ** 3,
    given: ({ n }) => ({ a: reflectedOf(n) }),
    shape: (n) => [n],
    expected: ({ n }) => eigenvaluesOf(n),
    run({ a }) {
      const { values, vectors } = eigh(a as Tensor);
      return [values, vectors];
    },
  },
} satisfies Readonly<Record<string, Definition>>;

export type KernelOperation = keyof typeof OPERATIONS;

export function kernelOperation(name: KernelOperation): Operation & { readonly label: string } {
  const { label, growth = 2, flops, given, shape, expected, run, dtype = 'f32' }: Definition = OPERATIONS[name];
  const tensorsOf = (runtime: Runtime, problem: Problem): Tensors =>
    Object.fromEntries(
      Object.entries(given(problem)).map(([key, host]) => {
        const tensor = runtime.fromHost(host);
        if (dtype === 'f32') return [key, tensor];
        using narrow = tensor;
        return [key, cast(narrow, dtype)];
      }),
    );
  const shapeOf = ({ n, d }: Problem) => shape(n, d);
  return {
    name,
    label,
    growth,
    flops: ({ n, d }) => flops(n, d),
    bytes: (problem) =>
      4 * (sizeOf(shapeOf(problem)) + Object.values(given(problem)).reduce((sum, each) => sum + sizeOf(each.shape), 0)),
    size: (problem) => sizeOf(shapeOf(problem)),
    given: (problem) => ({ tensors: given(problem), settings: { op: name, n: problem.n, d: problem.d, dtype } }),
    expected(problem) {
      const rows = someOf(problem.n);
      if (shapeOf(problem).length === 1) return [known(expected(problem, rows), 'largest result')];
      return [knownRows(expected(problem, rows), rows)];
    },
    open(runtime, { problem }) {
      const tensors = tensorsOf(runtime, problem);
      let last: readonly Tensor[] = [];
      const dispose = () => {
        for (const each of last) each.dispose();
      };
      return {
        call() {
          dispose();
          last = [run(tensors)].flat() as readonly Tensor[];
        },
        result: async () => joined(last.slice(0, 1)),
        tensors: [...Object.values(tensors), { dispose }],
      };
    },
  };
}
