/** Kernel ridge regression, fitted and asked. */
import { checkChoice, checkKnown, show } from '../check';
import { DTypeError, ParameterError, ShapeError, UnsupportedError } from '../errors';
import { checkTensors, commonRuntime } from '../ops/check';
import { checkContiguous, checkFloat32 } from '../ops/float32';
import { fromValues } from '../ops/from-values';
import { solve } from '../ops/linalg';
import { add, multiply } from '../ops/map';
import { matmul } from '../ops/matmul';
import { type HostTensor, toFloat64 } from '../tensor/host';
import { bindShapes, formatShape } from '../tensor/shape';
import { Tensor } from '../tensor/tensor';
import { type ConjugateGradientsOptions, conjugateGradients } from './conjugate-gradients';
import { copied, withDiagonal } from './diagonal';
import { type CheckedKernel, checkKernel, type Kernel } from './kernel';
import { kernelDiagonal, kernelMatrix, kernelProduct } from './matrix';
import { type CentresOptions, centresOf, fitNystrom } from './nystrom';
import { checkDiagonal, checkMemory, checkRidge, type ReadPoints, readPoints } from './points';
import { wideDot, wideMatrix } from './wide';

const SOLVERS = ['direct', 'primal', 'cg', 'nystrom'] as const;

export interface KernelRidgeOptions
  extends CentresOptions,
    Pick<ConjugateGradientsOptions, 'tolerance' | 'maxIterations' | 'signal' | 'onIteration'> {
  /** Added to the diagonal of the kernel matrix as it is; default 1. */
  readonly ridge?: number | undefined;
  /**
   * `direct` factors the matrix of n^2 numbers; `primal`, of the linear kernel, that of p^2; `cg` needs products with the
   * matrix alone, which hold none; `nystrom` looks for a function of `centres` points, by products with the n x centres matrix,
   * preconditioned by the centres' own. Default `direct`.
   */
  readonly solver?: (typeof SOLVERS)[number] | undefined;
  /**
   * What `direct` computes in: f64, which takes plain loops for its kernels, keeps its digits up to conditions of 1e12, f32
   * corrected by residuals in float64 up to 1e6. Default f32.
   */
  readonly precision?: 'f32' | 'f64' | undefined;
}

/** A regression that was fitted. */
export interface KernelRidge {
  readonly kernel: Kernel;
  /** [s, p], the points that predictions are sums of kernels of, and [s, c], their weights. */
  readonly support: Tensor<'f32'>;
  readonly weights: Tensor<'f32' | 'f64'>;
  /** How many conjugate gradients took, and the residual with which they ended; 0 of a direct solve. */
  readonly iterations: number;
  readonly residual: number;
  /** Predictions for x [m, p] -> [m, c]. */
  predict(x: Tensor): Tensor<'f32'>;
  dispose(): void;
}

const NAMES = [
  ...['ridge', 'solver', 'precision', 'centres', 'sampling', 'seed'],
  ...['tolerance', 'maxIterations', 'signal', 'onIteration'],
];

/**
 * Fits targets y [n, c] at points x [n, p] by kernel ridge regression. What it keeps is its own: dispose it.
 *
 * @throws {ParameterError} options that are unknown or out of range, a ridge that the element type cannot add, numbers that are
 * not finite, equal points without a ridge, more centres than points, matrices that no memory is enough for; a matrix that is
 * not positive definite with this ridge
 * @throws {ShapeError} points and targets of different numbers
 * @throws {DTypeError} inputs that are not f32
 */
export async function fitKernelRidge(
  kernel: Kernel,
  x: Tensor,
  y: Tensor,
  options: KernelRidgeOptions = {},
): Promise<KernelRidge> {
  const checked = checkKernel(kernel);
  checkKnown('options', options, NAMES, (name) => `fitKernelRidge has no option '${name}'`);
  const { ridge = 1, solver = 'direct', precision = 'f32', centres, sampling, seed, ...iterating } = options;
  checkChoice('solver', solver, SOLVERS);
  checkChoice('precision', precision, ['f32', 'f64']);
  checkRidge('ridge', ridge);
  for (const [name, given] of Object.entries({ centres, sampling }))
    if (given !== undefined && solver !== 'nystrom')
      throw new ParameterError(`${name} needs solver nystrom, got ${solver}`);
  if (precision === 'f64' && solver !== 'direct')
    throw new ParameterError(`precision f64 needs solver direct, got ${solver}`);
  const points = await readPoints('fitKernelRidge', x, y);
  if (solver === 'nystrom') {
    const support = await centresOf(kernel, x, ridge, { centres, sampling, seed });
    return createKernelRidge({ kernel, support, ...(await fitNystrom(kernel, x, y, ridge, support, iterating)) });
  }
  if (solver === 'primal') {
    const weights = slopes(checked, x, y, ridge);
    return createKernelRidge({ kernel, support: x.runtime.eye(points.p), weights });
  }
  await checkSolvable(kernel, x, ridge, precision, points);
  if (solver === 'cg') {
    const solution = await byProducts(kernel, x, y, ridge, iterating);
    return createKernelRidge({ kernel, support: copied(x), ...solution });
  }
  checkMemory(
    `solver direct with ${points.n} points`,
    (precision === 'f64' ? 24 : 12) * points.n ** 2,
    "use solver 'cg', which holds no matrix, or 'nystrom' with fewer centres",
  );
  const weights = precision === 'f64' ? wide(checked, x.runtime, ridge, points) : direct(kernel, x, y, ridge);
  return createKernelRidge({ kernel, support: copied(x), weights });
}

const scaled = (x: Tensor, factor: number): Tensor => multiply(x, x.runtime.tensor([factor], []));

async function checkSolvable(
  kernel: Kernel,
  x: Tensor,
  ridge: number,
  precision: 'f32' | 'f64',
  points: ReadPoints,
): Promise<void> {
  using diagonal = kernelDiagonal(kernel, x);
  let largest = 0;
  for (const value of await diagonal.read()) largest = Math.max(largest, value as number);
  checkDiagonal('ridge', ridge, precision, largest, points);
}

/**
 * A regression from its parts, such as those of a file: predictions are sums of kernels of the support [s, p], times the weights
 * [s, c], in float64 if these are f64. It takes the tensors over: dispose it, not them.
 *
 * @throws {ShapeError} parts that do not fit
 * @throws {DTypeError} a support that is not f32, weights that are neither f32 nor f64
 * @throws {ParameterError} a kernel that is unknown, or what it cannot be
 */
export function createKernelRidge(parts: KernelRidgeParts): KernelRidge {
  checkKnown('parts', parts, PARTS, (name) => `a kernel ridge regression has no part '${name}'`);
  const { kernel, support, weights, iterations = 0, residual = 0 } = parts;
  const checked = checkKernel(kernel);
  checkFloat32('createKernelRidge', { support }, {});
  const { bandwidth } = checked;
  const tensors = { support, weights, ...(bandwidth instanceof Tensor && { bandwidth }) };
  checkTensors(tensors);
  commonRuntime(tensors);
  if (!['f32', 'f64'].includes(weights.dtype)) throw new DTypeError(`weights must be f32 or f64, got ${weights.dtype}`);
  const { p } = bindShapes({ support: 's p', weights: 's c' }, { support: support.shape, weights: weights.shape });
  checkNumber('iterations', iterations);
  checkNumber('residual', residual);
  return {
    kernel,
    support,
    weights,
    iterations,
    residual,
    predict(x) {
      checkFloat32('predict', { x }, {});
      checkContiguous({ x });
      if (x.rank !== 2 || x.shape[1] !== p)
        throw new ShapeError(`x must have shape [m, ${p}], got ${formatShape(x.shape)}`);
      return weights.dtype === 'f64'
        ? wideProduct(checked, x, support, weights)
        : kernelProduct(kernel, x, support, weights);
    },
    dispose() {
      support.dispose();
      weights.dispose();
    },
  };
}

const PARTS = ['kernel', 'support', 'weights', 'iterations', 'residual', 'predict', 'dispose'];

type KernelRidgeParts = Pick<KernelRidge, 'kernel' | 'support' | 'weights'> &
  Partial<Pick<KernelRidge, 'iterations' | 'residual'>>;

/** What a solver found. */
type Solution = Pick<KernelRidgeParts, 'weights' | 'iterations' | 'residual'>;

function checkNumber(name: string, value: number): void {
  if (!(Number.isFinite(value) && value >= 0))
    throw new ParameterError(`${name} must be a number >= 0, got ${show(value)}`);
}

function direct(kernel: Kernel, x: Tensor, y: Tensor, ridge: number): Tensor<'f32'> {
  return x.runtime.scope(() =>
    solve(withDiagonal(kernelMatrix(kernel, x, x), ridge), y, { assume: 'positive-definite', refine: 2 }),
  );
}

/** (X^T X + ridge)^-1 X^T y: weights of unit vectors as a support, since the kernel of x and the c-th is its coordinate c. */
function slopes({ kernel }: CheckedKernel, x: Tensor, y: Tensor, ridge: number): Tensor<'f32'> {
  if (kernel !== 'linear') throw new ParameterError(`solver primal needs the linear kernel, got ${kernel}`);
  return x.runtime.scope(() => {
    const matrix = withDiagonal(matmul(x, x, { transposeA: true }), ridge);
    return solve(matrix, matmul(x, y, { transposeA: true }), { assume: 'positive-definite', refine: 2 });
  });
}

async function byProducts(
  kernel: Kernel,
  x: Tensor,
  y: Tensor,
  ridge: number,
  iterating: ConjugateGradientsOptions,
): Promise<Solution> {
  const product = (v: Tensor) => add(kernelProduct(kernel, x, x, v), scaled(v, ridge));
  const { x: weights, ...rest } = await conjugateGradients(product, y, iterating);
  return { weights, ...rest };
}

/** Matrix, factor and weights in float64. */
function wide(kernel: CheckedKernel, runtime: Tensor['runtime'], ridge: number, points: ReadPoints): Tensor<'f64'> {
  const { n, p, c } = points;
  if (runtime.backend.name === 'webgpu')
    throw new UnsupportedError("precision f64 needs a CPU: use a runtime with backend 'wasm'");
  const own = { data: Float64Array.from(points.x), count: n, width: p };
  const matrix = wideMatrix(kernel, own, own);
  for (let i = 0; i < n; i++) matrix[i * (n + 1)]! += ridge;
  return runtime.scope(() =>
    solve<'f64'>(runtime.tensor(matrix, [n, n], 'f64'), runtime.tensor(Float64Array.from(points.y), [n, c], 'f64'), {
      assume: 'positive-definite',
      refine: 2,
    }),
  );
}

/** K(x, support) weights, in float64 until it is rounded. */
function wideProduct(kernel: CheckedKernel, x: Tensor, support: Tensor, weights: Tensor): Tensor<'f32'> {
  const [m, p] = x.shape as [number, number];
  const [s, c] = weights.shape as [number, number];
  return fromValues({ x, support, weights }, [m, c], (values) => {
    const pointsOf = (name: 'x' | 'support', count: number) => ({
      data: toFloat64(values[name] as HostTensor),
      count,
      width: p,
    });
    const across = wideMatrix(kernel, pointsOf('x', m), pointsOf('support', s));
    return wideDot(across, toFloat64(values.weights as HostTensor), m, s, c);
  });
}
