/** Gaussian processes: regression with variances, and the likelihood that tells which kernel fits; in float64. */
import { checkBoolean, checkKnown, checkWhole, show } from '../check';
import { DTypeError, ParameterError, ShapeError, UnsupportedError } from '../errors';
import { checkControl, checkTensors, commonRuntime } from '../ops/check';
import { checkContiguous, checkFloat32 } from '../ops/float32';
import { fromValues } from '../ops/from-values';
import { cholesky, triangularSolve } from '../ops/linalg';
import type { Control } from '../runtime/backend';
import { type HostTensor, toFloat64 } from '../tensor/host';
import { bindShapes, formatShape } from '../tensor/shape';
import { Tensor } from '../tensor/tensor';
import { copied } from './diagonal';
import { type CheckedKernel, checkKernel, type Kernel } from './kernel';
import { kernelDiagonal } from './matrix';
import { ascend } from './optimize';
import { checkDiagonal, checkMemory, checkRidge, type ReadPoints, readPoints } from './points';
import { bandwidthOf, type WidePoints, wideDot, wideMatrix, wideSlopes } from './wide';

export interface MarginalLikelihoodOptions {
  /** What the kernel is multiplied by; default 1. */
  readonly amplitude?: number | undefined;
  /** The variance of the noise on targets, added to the diagonal; default 1e-2. */
  readonly noise?: number | undefined;
}

export interface GaussianProcessOptions extends MarginalLikelihoodOptions, Pick<Control, 'signal' | 'onProgress'> {
  /** Whether amplitude, noise and the kernel's bandwidth, if it has one, are to be those of the largest marginal likelihood near those given; default false. */
  readonly optimize?: boolean | undefined;
  /** Default 50 steps. */
  readonly maxIterations?: number | undefined;
}

export interface MarginalLikelihood {
  /** Its logarithm, of all columns of the targets. */
  readonly value: number;
  /** Derivatives with respect to the logarithms of the amplitude, the noise and the bandwidth, which not all kernels have. */
  readonly gradient: {
    readonly amplitude: number;
    readonly noise: number;
    readonly bandwidth?: number;
  };
}

/** A Gaussian process that was fitted. */
export interface GaussianProcess {
  /** As given, or with the bandwidth that was found. */
  readonly kernel: Kernel;
  readonly amplitude: number;
  readonly noise: number;
  /** The logarithm of the marginal likelihood. */
  readonly logLikelihood: number;
  /** [n, p], the points, [n, c], their weights, and [n, n], the triangular factor of their covariance. */
  readonly support: Tensor<'f32'>;
  readonly weights: Tensor<'f64'>;
  readonly factor: Tensor<'f64'>;
  /** Means [m, c] and variances [m], without noise, at points x [m, p]. */
  predict(x: Tensor): { readonly mean: Tensor<'f32'>; readonly variance: Tensor<'f32'> };
  dispose(): void;
}

/** What the likelihood is of. */
interface Problem {
  readonly kernel: CheckedKernel;
  readonly points: ReadPoints;
  readonly x: WidePoints;
  readonly y: Float64Array;
  readonly runtime: Tensor['runtime'];
}

const LIKELIHOOD_NAMES = ['amplitude', 'noise'];
const NAMES = [...LIKELIHOOD_NAMES, 'optimize', 'maxIterations', 'signal', 'onProgress'];

/**
 * The logarithm of the marginal likelihood of targets y [n, c] at points x [n, p], whose covariance is amplitude K + noise I, and
 * its gradient.
 *
 * @throws {ParameterError} options that are unknown or out of range, numbers that are not finite, more points than memory is
 * enough for; a covariance that is not positive definite
 * @throws {ShapeError} points and targets of different numbers
 * @throws {DTypeError} inputs that are not f32
 * @throws {UnsupportedError} a GPU
 */
export async function marginalLikelihood(
  kernel: Kernel,
  x: Tensor,
  y: Tensor,
  options: MarginalLikelihoodOptions = {},
): Promise<MarginalLikelihood> {
  checkKnown('options', options, LIKELIHOOD_NAMES, (name) => `marginalLikelihood has no option '${name}'`);
  const { amplitude, noise } = checked(options);
  return likelihoodOf(await problemOf('marginalLikelihood', kernel, x, y, amplitude, noise), amplitude, noise);
}

/**
 * Fits a Gaussian process of mean 0 to targets y [n, c] at points x [n, p]. What it keeps is its own: dispose it.
 *
 * @throws {ParameterError} as for `marginalLikelihood`
 * @throws {ShapeError} points and targets of different numbers
 * @throws {DTypeError} inputs that are not f32
 * @throws {UnsupportedError} a GPU
 */
export async function fitGaussianProcess(
  kernel: Kernel,
  x: Tensor,
  y: Tensor,
  options: GaussianProcessOptions = {},
): Promise<GaussianProcess> {
  checkKnown('options', options, NAMES, (name) => `fitGaussianProcess has no option '${name}'`);
  const { optimize = false, maxIterations = 50, signal, onProgress } = options;
  checkControl({ signal, onProgress });
  checkBoolean('optimize', optimize);
  checkWhole('maxIterations', maxIterations, 1);
  const given = checked(options);
  const problem = await problemOf('fitGaussianProcess', kernel, x, y, given.amplitude, given.noise);
  const { bandwidth, amplitude, noise } = optimize
    ? await optimized(problem, given, maxIterations, { signal, onProgress })
    : { ...given, bandwidth: undefined };
  const found = bandwidth === undefined ? kernel : ({ ...kernel, bandwidth } as Kernel);
  const last = { ...problem, kernel: checkKernel(found) };
  const { value, factor, weights } = await factored(last, amplitude, noise);
  return createGaussianProcess({
    kernel: found,
    amplitude,
    noise,
    logLikelihood: value,
    support: copied(x),
    weights,
    factor,
  });
}

/**
 * A Gaussian process from its parts, such as those of a file. It takes the tensors over: dispose it, not them.
 *
 * @throws {ShapeError} parts that do not fit
 * @throws {DTypeError} points that are not f32, weights and a factor that are not f64
 * @throws {ParameterError} numbers that are out of range
 */
export function createGaussianProcess(parts: Omit<GaussianProcess, 'predict' | 'dispose'>): GaussianProcess {
  const { kernel, p, n } = checkParts(parts);
  const { support, weights, factor, amplitude } = parts;
  return {
    ...parts,
    predict(x) {
      checkFloat32('predict', { x }, {});
      checkContiguous({ x });
      if (x.rank !== 2 || x.shape[1] !== p)
        throw new ShapeError(`x must have shape [m, ${p}], got ${formatShape(x.shape)}`);
      return predicted(kernel, amplitude, x, { support, weights, factor }, n);
    },
    dispose() {
      for (const each of [support, weights, factor]) each.dispose();
    },
  };
}

const PARTS = ['kernel', 'amplitude', 'noise', 'logLikelihood', 'support', 'weights', 'factor'];

function checkParts(parts: Omit<GaussianProcess, 'predict' | 'dispose'>) {
  checkKnown('parts', parts, [...PARTS, 'predict', 'dispose'], (name) => `a Gaussian process has no part '${name}'`);
  const { support, weights, factor, logLikelihood } = parts;
  const kernel = checkKernel(parts.kernel);
  if (kernel.bandwidth instanceof Tensor) bandwidthOf(kernel);
  checkScales(parts);
  if (!Number.isFinite(logLikelihood))
    throw new ParameterError(`logLikelihood must be a finite number, got ${show(logLikelihood)}`);
  checkFloat32('createGaussianProcess', { support }, {});
  checkTensors({ weights, factor });
  commonRuntime({ support, weights, factor });
  for (const [name, { dtype }] of Object.entries({ weights, factor }))
    if ((dtype as string) !== 'f64') throw new DTypeError(`${name} must be f64, got ${dtype}`);
  const extents = bindShapes(
    { support: 'n p', weights: 'n c', factor: 'n n' },
    { support: support.shape, weights: weights.shape, factor: factor.shape },
  );
  return { kernel, n: extents.n as number, p: extents.p as number };
}

const checked = ({ amplitude = 1, noise = 1e-2 }: MarginalLikelihoodOptions) => checkScales({ amplitude, noise });

function checkScales({ amplitude, noise }: Pick<GaussianProcess, 'amplitude' | 'noise'>) {
  if (!(Number.isFinite(amplitude) && amplitude > 0))
    throw new ParameterError(`amplitude must be a finite number > 0, got ${show(amplitude)}`);
  checkRidge('noise', noise);
  return { amplitude, noise };
}

async function problemOf(
  op: string,
  kernel: Kernel,
  x: Tensor,
  y: Tensor,
  amplitude: number,
  noise: number,
): Promise<Problem> {
  const checkedKernel = checkKernel(kernel);
  if (checkedKernel.bandwidth instanceof Tensor) bandwidthOf(checkedKernel);
  const points = await readPoints(op, x, y);
  const { runtime } = x;
  if (runtime.backend.name === 'webgpu')
    throw new UnsupportedError(`${op} computes in float64, on CPUs alone: use a runtime with backend 'wasm'`);
  const { n, p } = points;
  checkMemory(`${n} points`, 32 * n * n, "fit fewer points, or use fitKernelRidge with solver 'nystrom'");
  using diagonal = kernelDiagonal(kernel, x);
  let largest = 0;
  for (const value of await diagonal.read()) largest = Math.max(largest, amplitude * (value as number));
  checkDiagonal('noise', noise, 'f64', largest, points);
  return {
    kernel: checkedKernel,
    points,
    x: { data: Float64Array.from(points.x), count: n, width: p },
    y: Float64Array.from(points.y),
    runtime,
  };
}

/** The factor of amplitude K + noise I, the weights of the targets, and the value of the likelihood. */
async function factored({ kernel, points, x, y, runtime }: Problem, amplitude: number, noise: number) {
  const { n, c } = points;
  const matrix = wideMatrix(kernel, x, x);
  const covariance = matrix.map((value, at) => amplitude * value + (at % (n + 1) === 0 ? noise : 0));
  const { factor, weights } = runtime.scope(() => {
    const factor = cholesky<'f64'>(runtime.tensor(covariance, [n, n], 'f64'));
    const half = triangularSolve<'f64'>(factor, runtime.tensor(y, [n, c], 'f64'));
    return { factor, weights: triangularSolve<'f64'>(factor, half, { transpose: true }) };
  });
  const [triangle, alpha] = (await Promise.all([factor.read(), weights.read()])) as [Float64Array, Float64Array];
  let value = -0.5 * n * c * Math.log(2 * Math.PI);
  for (let at = 0; at < n * c; at++) value -= 0.5 * y[at]! * alpha[at]!;
  for (let i = 0; i < n; i++) value -= c * Math.log(triangle[i * (n + 1)]!);
  return { factor, weights, value, alpha, matrix };
}

/** With covariance S and weights a = S^-1 y the derivative by a parameter is (a^T dS a - c tr(S^-1 dS)) / 2. */
async function likelihoodOf(problem: Problem, amplitude: number, noise: number): Promise<MarginalLikelihood> {
  const { kernel, points, x, runtime } = problem;
  const { n, c } = points;
  const { factor, weights, value, alpha, matrix } = await factored(problem, amplitude, noise);
  using half = inverseOf(factor, n, runtime);
  const inverted = (await half.read()) as Float64Array;
  for (const each of [factor, weights]) each.dispose();
  const slopes = wideSlopes(kernel, x);
  let [byAmplitude, byNoise, byBandwidth] = [0, 0, 0];
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      let weight = -c * inverted[i * n + j]!;
      for (let k = 0; k < c; k++) weight += alpha[i * c + k]! * alpha[j * c + k]!;
      byAmplitude += weight * matrix[i * n + j]!;
      if (i === j) byNoise += weight;
      if (slopes) byBandwidth += weight * slopes[i * n + j]!;
    }
  return {
    value,
    gradient: {
      amplitude: 0.5 * amplitude * byAmplitude,
      noise: 0.5 * noise * byNoise,
      ...(slopes && { bandwidth: 0.5 * amplitude * byBandwidth }),
    },
  };
}

/** (L L^T)^-1 */
function inverseOf(factor: Tensor<'f64'>, n: number, runtime: Tensor['runtime']): Tensor<'f64'> {
  return runtime.scope(() =>
    triangularSolve<'f64'>(factor, triangularSolve<'f64'>(factor, runtime.eye(n, 'f64')), { transpose: true }),
  );
}

async function optimized(
  problem: Problem,
  given: { readonly amplitude: number; readonly noise: number },
  maxIterations: number,
  control: Control,
) {
  const { kernel } = problem;
  const has = wideSlopes(kernel, { data: new Float64Array(1), count: 1, width: 1 }) !== undefined;
  const start = [given.amplitude, given.noise, ...(has ? [bandwidthOf(kernel)] : [])].map(Math.log);
  const at = (logs: readonly number[]) => {
    const [amplitude, noise, bandwidth] = logs.map(Math.exp) as [number, number, number?];
    return { amplitude, noise, bandwidth };
  };
  const best = await ascend(
    start,
    async (logs) => {
      const { amplitude, noise, bandwidth = 1 } = at(logs);
      const found = await likelihoodOf({ ...problem, kernel: { ...kernel, bandwidth } }, amplitude, noise);
      const { gradient } = found;
      return {
        value: found.value,
        gradient: [gradient.amplitude, gradient.noise, ...(has ? [gradient.bandwidth ?? 0] : [])],
      };
    },
    maxIterations,
    control,
  );
  return at(best);
}

function predicted(
  kernel: CheckedKernel,
  amplitude: number,
  x: Tensor,
  { support, weights, factor }: Pick<GaussianProcess, 'support' | 'weights' | 'factor'>,
  n: number,
) {
  const [m, p] = x.shape as [number, number];
  const c = weights.shape[1] as number;
  const wide = (values: Readonly<Record<string, HostTensor>>) => {
    const [asked, held] = [toFloat64(values.x as HostTensor), toFloat64(values.support as HostTensor)];
    return wideMatrix(kernel, { data: asked, count: m, width: p }, { data: held, count: n, width: p });
  };
  return {
    mean: fromValues({ x, support, weights }, [m, c], (values) =>
      wideDot(wide(values), toFloat64(values.weights as HostTensor), m, n, c).map((value) => amplitude * value),
    ),
    variance: fromValues({ x, support, factor }, [m], (values) => {
      const across = wide(values);
      const triangle = toFloat64(values.factor as HostTensor);
      const own = toFloat64(values.x as HostTensor);
      return Float64Array.from({ length: m }, (_, i) => {
        const point = { data: own.subarray(i * p, (i + 1) * p), count: 1, width: p };
        const explained = explainedBy(triangle, across.subarray(i * n, (i + 1) * n), n);
        return Math.max(0, amplitude * wideMatrix(kernel, point, point)[0]! - amplitude ** 2 * explained);
      });
    }),
  };
}

/** |L^-1 k|^2 */
function explainedBy(triangle: Float64Array, k: Float64Array, n: number): number {
  const half = new Float64Array(n);
  let total = 0;
  for (let i = 0; i < n; i++) {
    let value = k[i]!;
    for (let j = 0; j < i; j++) value -= triangle[i * n + j]! * half[j]!;
    half[i] = value / triangle[i * (n + 1)]!;
    total += half[i]! ** 2;
  }
  return total;
}
