/** Kernel ridge regression, fitted and asked. */
import { checkChoice, checkKnown, checkWhole, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { checkFloat32 } from '../ops/float32';
import { gather } from '../ops/gather';
import { cholesky, solve, triangularSolve } from '../ops/linalg';
import { add, multiply } from '../ops/map';
import { uniform } from '../tensor/random';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { type ConjugateGradientsOptions, conjugateGradients } from './conjugate-gradients';
import { checkKernel, type Kernel } from './kernel';
import { kernelMatrix, kernelProduct } from './matrix';

const SOLVERS = ['direct', 'cg', 'nystrom'] as const;

export interface KernelRidgeOptions
  extends Pick<ConjugateGradientsOptions, 'tolerance' | 'maxIterations' | 'signal' | 'onIteration'> {
  /** Added to the diagonal of the kernel matrix as it is; default 1. */
  readonly ridge?: number | undefined;
  /**
   * `direct` factors the matrix of n^2 numbers; `cg` needs products with it alone, which hold no matrix; `nystrom` looks for a
   * function of `centres` points, by products with the n x centres matrix. Default `direct`.
   */
  readonly solver?: (typeof SOLVERS)[number] | undefined;
  /** For `nystrom`: how many of the points are drawn; default the root of their number, times 10. */
  readonly centres?: number | undefined;
  /** The seed of the draw; default 0. */
  readonly seed?: number | undefined;
}

/** A regression that was fitted. */
export interface KernelRidge {
  readonly kernel: Kernel;
  /** [s, p], the points that predictions are sums of kernels of, and [s, c], their weights. */
  readonly support: Tensor<'f32'>;
  readonly weights: Tensor<'f32'>;
  /** How many conjugate gradients took, and the residual with which they ended; 0 of a direct solve. */
  readonly iterations: number;
  readonly residual: number;
  /** Predictions for x [m, p] -> [m, c]. */
  predict(x: Tensor): Tensor<'f32'>;
  dispose(): void;
}

const NAMES = ['ridge', 'solver', 'centres', 'seed', 'tolerance', 'maxIterations', 'signal', 'onIteration'];
/** Added to the matrix of centres, over the mean of its diagonal. */
const JITTER = 1e-5;

/**
 * Fits targets y [n, c] at points x [n, p] by kernel ridge regression. What it keeps is its own: dispose it.
 *
 * @throws {ParameterError} options that are unknown or out of range, more centres than points; a matrix that is not positive definite with this ridge
 * @throws {ShapeError} points and targets of different numbers
 * @throws {DTypeError} inputs that are not f32
 */
export async function fitKernelRidge(
  kernel: Kernel,
  x: Tensor,
  y: Tensor,
  options: KernelRidgeOptions = {},
): Promise<KernelRidge> {
  checkKernel(kernel);
  checkKnown('options', options, NAMES, (name) => `fitKernelRidge has no option '${name}'`);
  checkFloat32('fitKernelRidge', { x, y }, {});
  const { ridge = 1, solver = 'direct', centres, seed = 0, ...iterating } = options;
  checkChoice('solver', solver, SOLVERS);
  if (!(Number.isFinite(ridge) && ridge >= 0))
    throw new ParameterError(`ridge must be a finite number >= 0, got ${show(ridge)}`);
  if (x.rank !== 2 || y.rank !== 2 || x.shape[0] !== y.shape[0])
    throw new ShapeError(
      `x and y must have shapes [n, p] and [n, c], got ${formatShape(x.shape)} and ${formatShape(y.shape)}`,
    );
  if (centres !== undefined && solver !== 'nystrom')
    throw new ParameterError(`centres are of solver nystrom, got ${solver}`);
  if (solver === 'direct') return fitted(kernel, copied(x), direct(kernel, x, y, ridge), 0, 0);
  if (solver === 'cg') {
    const {
      x: weights,
      iterations,
      residual,
    } = await conjugateGradients((v) => ridged(kernelProduct(kernel, x, x, v), v, ridge), y, iterating);
    return fitted(kernel, copied(x), weights, iterations, residual);
  }
  return nystrom(kernel, x, y, ridge, drawn(x, centres, seed), iterating);
}

const copied = (x: Tensor): Tensor<'f32'> => add(x, x.runtime.tensor([0], []));

const ridged = (product: Tensor, v: Tensor, ridge: number): Tensor =>
  add(product, multiply(v, v.runtime.tensor([ridge], [])));

function fitted(
  kernel: Kernel,
  support: Tensor<'f32'>,
  weights: Tensor<'f32'>,
  iterations: number,
  residual: number,
): KernelRidge {
  return {
    kernel,
    support,
    weights,
    iterations,
    residual,
    predict: (x) => kernelProduct(kernel, x, support, weights),
    dispose() {
      support.dispose();
      weights.dispose();
    },
  };
}

function direct(kernel: Kernel, x: Tensor, y: Tensor, ridge: number): Tensor<'f32'> {
  const { runtime } = x;
  return runtime.scope(() => {
    const matrix = ridged(kernelMatrix(kernel, x, x), runtime.eye(x.shape[0] as number), ridge);
    return solve(matrix, y, { assume: 'positive-definite', refine: 2 });
  });
}

/** Different points, drawn evenly. */
function drawn(x: Tensor, centres: number | undefined, seed: number): Tensor<'f32'> {
  const n = x.shape[0] as number;
  const count = centres === undefined ? Math.min(n, Math.ceil(10 * Math.sqrt(n))) : centres;
  checkWhole('centres', count, 1, n);
  const keys = uniform(n, seed);
  const order = [...keys.keys()].sort((a, b) => (keys[a] as number) - (keys[b] as number));
  using indices = x.runtime.tensor(Int32Array.from(order.slice(0, count)), [count]);
  return gather(x as Tensor<'f32'>, indices);
}

/**
 * Least |K a - y|^2 + ridge a^T C a over weights a of the centres, C their matrix and K that of points and centres. With the factor
 * T of C and a = T^-T w the system is (T^-1 K^T K T^-T + ridge) w = T^-1 K^T y, which conjugate gradients solve in few steps.
 */
async function nystrom(
  kernel: Kernel,
  x: Tensor,
  y: Tensor,
  ridge: number,
  support: Tensor<'f32'>,
  iterating: ConjugateGradientsOptions,
): Promise<KernelRidge> {
  const { runtime } = x;
  let factor: Tensor | undefined;
  try {
    const triangle = runtime.scope(() => {
      const matrix = kernelMatrix(kernel, support, support);
      return cholesky(ridged(matrix, runtime.eye(support.shape[0] as number), JITTER));
    });
    factor = triangle;
    const weightsOf = (w: Tensor) => triangularSolve(triangle, w, { transpose: true });
    const back = (v: Tensor) => triangularSolve(triangle, kernelProduct(kernel, support, x, v));
    using right = runtime.scope(() => back(y));
    const product = (w: Tensor) => ridged(back(kernelProduct(kernel, x, support, weightsOf(w))), w, ridge);
    const { x: w, iterations, residual } = await conjugateGradients(product, right, iterating);
    const weights = weightsOf(w);
    w.dispose();
    return fitted(kernel, support, weights, iterations, residual);
  } catch (error) {
    support.dispose();
    throw error;
  } finally {
    factor?.dispose();
  }
}
