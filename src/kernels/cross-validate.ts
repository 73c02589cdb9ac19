/** Errors of kernel ridge regression on points that were left out, for many ridges by one eigendecomposition; in float64. */
import { checkArray, checkKnown, checkWhole } from '../check';
import { ParameterError, UnsupportedError } from '../errors';
import { nextTurn } from '../next-turn';
import { checkControl } from '../ops/check';
import { eigh, solve } from '../ops/linalg';
import type { Control } from '../runtime/backend';
import { uniform } from '../tensor/random';
import type { Tensor } from '../tensor/tensor';
import { checkKernel, type Kernel } from './kernel';
import { checkMemory, checkRidge, readPoints } from './points';
import { wideDot, wideMatrix } from './wide';

export interface CrossValidationOptions extends Pick<Control, 'signal' | 'onProgress'> {
  /** Those to try, above 0; default 1e-6 to 1e3 by tens. */
  readonly ridges?: readonly number[] | undefined;
  /** Into how many parts points are dealt, each left out once; default as many as points, for which there is a closed form. */
  readonly folds?: number | undefined;
  /** The seed by which points are dealt; default 0. */
  readonly seed?: number | undefined;
}

export interface CrossValidation {
  readonly ridges: readonly number[];
  /** Mean squared errors on points left out, by ridge, over all columns of the targets and of each. */
  readonly errors: readonly number[];
  readonly columns: readonly (readonly number[])[];
  /** By ridge, trace of K (K + ridge)^-1: as many parameters as a linear model that is as free. */
  readonly freedom: readonly number[];
  /** The ridge with the least error. */
  readonly best: number;
  /** Those of the kernel matrix, in descending order. */
  readonly eigenvalues: Float64Array;
  /** Predictions for each point by the fit without it, with the best ridge: [n, c], row-major. */
  readonly predictions: Float64Array;
}

const RIDGES = Array.from({ length: 10 }, (_, at) => 10 ** (at - 6));

/**
 * Errors of kernel ridge regression by ridge on points that were left out, of targets y [n, c] at points x [n, p].
 *
 * @throws {ParameterError} options that are unknown or out of range, numbers that are not finite, more points than memory is
 * enough for
 * @throws {ShapeError} points and targets of different numbers
 * @throws {DTypeError} inputs that are not f32
 * @throws {UnsupportedError} a GPU
 */
export async function crossValidateKernelRidge(
  kernel: Kernel,
  x: Tensor,
  y: Tensor,
  options: CrossValidationOptions = {},
): Promise<CrossValidation> {
  const checked = checkKernel(kernel);
  checkKnown(
    'options',
    options,
    ['ridges', 'folds', 'seed', 'signal', 'onProgress'],
    (name) => `crossValidateKernelRidge has no option '${name}'`,
  );
  const { ridges = RIDGES, folds, seed = 0, signal, onProgress } = options;
  checkControl({ signal, onProgress });
  checkArray('ridges', ridges);
  if (ridges.length === 0) throw new ParameterError('ridges must not be empty');
  for (const [at, ridge] of ridges.entries()) {
    checkRidge(`ridges[${at}]`, ridge);
    if (ridge === 0) throw new ParameterError(`ridges[${at}] must be above 0, got 0`);
  }
  const { n, p, c, x: points, y: targets } = await readPoints('crossValidateKernelRidge', x, y);
  if (folds !== undefined) checkWhole('folds', folds, 2, n);
  const { runtime } = x;
  if (runtime.backend.name === 'webgpu')
    throw new UnsupportedError("crossValidateKernelRidge computes in float64, on CPUs alone: use backend 'wasm'");
  checkMemory(`${n} points`, 32 * n * n, 'cross-validate on fewer of them');
  const wide = { data: Float64Array.from(points), count: n, width: p };
  const spectrum = await spectrumOf(runtime, wideMatrix(checked, wide, wide), n, Float64Array.from(targets), c);
  const parts = folds === undefined || folds === n ? undefined : dealt(n, folds, seed);
  const tried: (Pick<CrossValidation, 'predictions'> & { columns: number[]; error: number; freedom: number })[] = [];
  for (const [at, ridge] of ridges.entries()) {
    onProgress?.(at / ridges.length);
    await nextTurn();
    signal?.throwIfAborted();
    const left = parts ? await leftOutOf(runtime, spectrum, ridge, parts) : leftOneOut(spectrum, ridge);
    const columns = Array.from({ length: c }, (_, k) => {
      let total = 0;
      for (let i = 0; i < n; i++) total += left[i * c + k]! ** 2;
      return total / n;
    });
    tried.push({
      columns,
      error: columns.reduce((total, each) => total + each, 0) / c,
      freedom: spectrum.values.reduce((total, value) => total + value / (value + ridge), 0),
      predictions: left.map((each, at) => targets[at]! - each),
    });
  }
  const best = tried.reduce((least, { error }, at) => (error < tried[least]!.error ? at : least), 0);
  return {
    ridges: [...ridges],
    errors: tried.map(({ error }) => error),
    columns: tried.map(({ columns }) => columns),
    freedom: tried.map(({ freedom }) => freedom),
    best: ridges[best] as number,
    eigenvalues: spectrum.values.slice().reverse(),
    predictions: tried[best]!.predictions,
  };
}

/** K = Q diag(values) Q^T, and Q^T y. */
interface Spectrum {
  readonly n: number;
  readonly c: number;
  /** Rounding may leave some below 0, which count as 0. */
  readonly values: Float64Array;
  readonly vectors: Float64Array;
  readonly along: Float64Array;
}

async function spectrumOf(
  runtime: Tensor['runtime'],
  matrix: Float64Array,
  n: number,
  targets: Float64Array,
  c: number,
): Promise<Spectrum> {
  using k = runtime.tensor(matrix, [n, n], 'f64');
  const found = eigh<'f64'>(k);
  using eigenvalues = found.values;
  using eigenvectors = found.vectors;
  const [values, vectors] = (await Promise.all([eigenvalues.read(), eigenvectors.read()])) as [
    Float64Array,
    Float64Array,
  ];
  const along = new Float64Array(n * c);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++)
      for (let k = 0; k < c; k++) along[j * c + k]! += vectors[i * n + j]! * targets[i * c + k]!;
  return { n, c, values: values.map((value) => Math.max(value, 0)), vectors, along };
}

/** (K + ridge)^-1 y */
function weightsOf({ n, c, values, vectors, along }: Spectrum, ridge: number): Float64Array {
  const over = along.map((value, at) => value / (values[Math.floor(at / c)]! + ridge));
  return wideDot(vectors, over, n, n, c);
}

/** What the fit without each point leaves of its target: a_i / G_ii, with G = (K + ridge)^-1 and a = G y. */
function leftOneOut(spectrum: Spectrum, ridge: number): Float64Array {
  const { n, c, values, vectors } = spectrum;
  const weights = weightsOf(spectrum, ridge);
  for (let i = 0; i < n; i++) {
    let own = 0;
    for (let j = 0; j < n; j++) own += vectors[i * n + j]! ** 2 / (values[j]! + ridge);
    for (let k = 0; k < c; k++) weights[i * c + k]! /= own;
  }
  return weights;
}

/** The same of parts S of the points that are left out together: G_SS^-1 a_S. */
async function leftOutOf(
  runtime: Tensor['runtime'],
  spectrum: Spectrum,
  ridge: number,
  parts: readonly (readonly number[])[],
): Promise<Float64Array> {
  const { n, c, values, vectors } = spectrum;
  const weights = weightsOf(spectrum, ridge);
  for (const part of parts) {
    const size = part.length;
    const block = new Float64Array(size * size);
    const scaled = new Float64Array(n);
    for (let a = 0; a < size; a++) {
      const from = part[a]! * n;
      for (let j = 0; j < n; j++) scaled[j] = vectors[from + j]! / (values[j]! + ridge);
      for (let b = 0; b <= a; b++) {
        let total = 0;
        for (let j = 0, row = part[b]! * n; j < n; j++) total += scaled[j]! * vectors[row + j]!;
        block[a * size + b] = block[b * size + a] = total;
      }
    }
    const own = Float64Array.from(part.flatMap((row) => [...weights.subarray(row * c, (row + 1) * c)]));
    using solution = runtime.scope(() =>
      solve<'f64'>(runtime.tensor(block, [size, size], 'f64'), runtime.tensor(own, [size, c], 'f64'), {
        assume: 'positive-definite',
      }),
    );
    const left = (await solution.read()) as Float64Array;
    for (const [a, row] of part.entries()) weights.set(left.subarray(a * c, (a + 1) * c), row * c);
  }
  return weights;
}

/** Rows 0 to n - 1 in parts whose sizes differ by one at most. */
export function dealt(n: number, folds: number, seed: number): number[][] {
  const keys = uniform(n, seed);
  const order = [...keys.keys()].sort((a, b) => keys[a]! - keys[b]!);
  return Array.from({ length: folds }, (_, fold) => order.filter((_, at) => at % folds === fold));
}
