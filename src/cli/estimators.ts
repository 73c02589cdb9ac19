/** What `saccade fit` fits and `saccade predict` asks: settings, fits, and files of models, which may come from anywhere. */
import * as valibot from 'valibot';
import { labelled, show } from '../check';
import { ParameterError, ParseError, SaccadeError } from '../errors';
import { arcCosine, type FeatureMap, fourier, positive } from '../feature-maps';
import { readSafetensors, readSafetensorsMetadata, writeSafetensors } from '../io';
import {
  createGaussianProcess,
  createKernelRidge,
  fitFeatureRidge,
  fitGaussianProcess,
  fitKernelRidge,
  type Kernel,
} from '../kernels';
import { parseParams } from '../methods/params';
import { choice, flag, number, seed, whole } from '../methods/schema';
import { matmul } from '../ops/matmul';
import type { Control } from '../runtime/backend';
import type { Runtime } from '../runtime/runtime';
import type { HostTensor } from '../tensor/host';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

const ofKernel = {
  kernel: choice(['linear', 'gaussian', 'laplace', 'matern', 'polynomial', 'arc-cosine'], 'of two points', 'gaussian'),
  bandwidth: number('of gaussian, laplace and matern; else 1', { above: 0 }),
  smoothness: number('of matern: 0.5, 1.5 or 2.5; else 1.5'),
  offset: number('of polynomial; else 1'),
  degree: whole('of polynomial; else 3', { least: 1, most: 64 }),
  order: whole('of arc-cosine; else 1', { least: 0, most: 2 }),
};
const ofSolver = {
  solver: choice(
    ['direct', 'primal', 'cg', 'nystrom'],
    'direct takes n^2 numbers, primal p^2 of the linear kernel, cg and nystrom products alone',
    'direct',
  ),
  precision: choice(['f32', 'f64'], 'of solver direct', 'f32'),
  centres: whole('of nystrom; else 10 sqrt(n)', { least: 1 }),
  sampling: choice(['uniform', 'leverage'], 'of nystrom: how centres are drawn; else uniform'),
  tolerance: number('residual with which cg and nystrom end; else 1e-5', { above: 0, below: 1 }),
  maxIterations: whole('of cg and nystrom; else 1000', { least: 1 }),
  seed: seed('of the centres that are drawn'),
};
const positiveNumber = valibot.pipe(valibot.number(), valibot.finite(), valibot.gtValue(0));
const ridge = valibot.optional(
  valibot.pipe(
    valibot.union([
      valibot.pipe(valibot.number(), valibot.finite(), valibot.minValue(0)),
      valibot.pipe(valibot.array(positiveNumber), valibot.minLength(1), valibot.maxLength(100)),
    ]),
    valibot.description(
      'added to the kernel matrix as it is; of a list the one with the least error on points left out',
    ),
  ),
  1,
);

/** Params of each method. */
const PARAMS = {
  'kernel-ridge': valibot.strictObject({ ...ofKernel, ridge, ...ofSolver }),
  'gaussian-process': valibot.strictObject({
    ...ofKernel,
    amplitude: number('what the kernel is multiplied by', { above: 0, preset: 1 }),
    noise: number('variance of the noise on targets', { least: 0, preset: 0.01 }),
    optimize: flag('whether amplitude, noise and bandwidth become the likeliest near those given', false),
  }),
  'random-features': valibot.strictObject({
    map: choice(['fourier', 'arc-cosine', 'positive'], 'which features', 'fourier'),
    features: whole('how many', { least: 1, preset: 1000 }),
    orthogonal: flag('whether directions are at right angles', true),
    bandwidth: number('of fourier; else 1', { above: 0 }),
    order: whole('of arc-cosine; else 1', { least: 0, most: 2 }),
    ridge: number('added to the matrix of features as it is', { least: 0, preset: 1 }),
    seed: seed('of the features'),
  }),
} as const;
export type Estimator = keyof typeof PARAMS;
export const ESTIMATORS = Object.keys(PARAMS) as Estimator[];

type ParamsOf<Name extends Estimator> = valibot.InferOutput<(typeof PARAMS)[Name]>;
export type EstimatorParams = {
  readonly [Name in Estimator]: { readonly method: Name; readonly params: ParamsOf<Name> };
}[Estimator];

/** @throws {ParameterError} params that the method does not take */
export function estimatorParams(method: Estimator, params: Record<string, unknown>): EstimatorParams {
  return { method, params: parseParams(method, PARAMS[method], params as never) } as EstimatorParams;
}

/** The kernel that params name. */
export function kernelOf(params: Partial<ParamsOf<'kernel-ridge'>>): Kernel {
  const own = Object.keys(ofKernel) as (keyof typeof ofKernel)[];
  return Object.fromEntries(
    own.filter((name) => params[name] !== undefined).map((name) => [name, params[name]]),
  ) as unknown as Kernel;
}

/** A model that was fitted, however. */
export interface Fitted {
  /** What a file says of it beside its tensors: all that `createFitted` needs. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** What is worth telling of the fit, by name. */
  readonly told: Readonly<Record<string, number>>;
  /** x [m, p] -> out [m, c], with a Gaussian process also variance [m]. */
  predict(x: Tensor): Readonly<Record<string, Tensor>>;
}

/** Fits targets y [n, c] at x [n, p]. */
export async function fitEstimator(
  { method, params }: EstimatorParams,
  x: Tensor,
  y: Tensor,
  control: Control,
): Promise<Fitted> {
  if (method === 'random-features') {
    const { ridge, ...drawn } = params;
    const settings = { method, ...drawn, dimension: x.shape[1] as number };
    const { weights } = await fitFeatureRidge(mapOf(settings), x, y, { ridge });
    return createFitted(settings, { weights });
  }
  const kernel = kernelOf(params);
  if (method === 'gaussian-process') {
    const { amplitude, noise, optimize } = params;
    const {
      kernel: found,
      logLikelihood,
      support,
      weights,
      factor,
      ...rest
    } = await fitGaussianProcess(kernel, x, y, {
      ...{ amplitude, noise, optimize },
      ...control,
    });
    const settings = { method, ...found, amplitude: rest.amplitude, noise: rest.noise, logLikelihood };
    const told = { amplitude: rest.amplitude, noise: rest.noise, 'log likelihood': logLikelihood };
    return { ...createFitted(settings, { support, weights, factor }), told: { ...told, ...bandwidthIn(found) } };
  }
  const { ridge, solver, precision, centres, sampling, tolerance = 1e-5, maxIterations, seed } = params;
  const { support, weights, iterations, residual } = await fitKernelRidge(kernel, x, y, {
    ...{ ridge: ridge as number, solver, precision, tolerance, maxIterations, seed },
    ...(centres !== undefined && { centres }),
    ...(sampling !== undefined && { sampling }),
    signal: control.signal,
    // Residuals fall about evenly by their logarithms.
    onIteration: (_, residual) =>
      control.onProgress?.(Math.max(0, Math.min(1, Math.log(residual) / Math.log(tolerance)))),
  });
  const told = iterations > 0 ? { iterations, residual } : {};
  return { ...createFitted({ method, ...kernel }, { support, weights }), told };
}

const bandwidthIn = (kernel: Kernel) =>
  'bandwidth' in kernel && typeof kernel.bandwidth === 'number' ? { bandwidth: kernel.bandwidth } : {};

/** What each method's file holds. */
const HOLDS: Readonly<Record<Estimator, Readonly<Record<string, readonly string[]>>>> = {
  'kernel-ridge': { support: ['f32'], weights: ['f32', 'f64'] },
  'gaussian-process': { support: ['f32'], weights: ['f64'], factor: ['f64'] },
  'random-features': { weights: ['f32'] },
};

/**
 * A model from its parts.
 *
 * @throws {SaccadeError} parts that do not fit
 */
function createFitted(settings: Readonly<Record<string, unknown>>, tensors: Fitted['tensors']): Fitted {
  const common = { settings, tensors, told: {} };
  const { method, amplitude, noise, logLikelihood, ...rest } = settings;
  const parts = tensors as Readonly<Record<'support' | 'weights' | 'factor', Tensor<never>>>;
  if (method === 'random-features') {
    const map = mapOf(settings as never);
    const { weights } = tensors as { weights: Tensor };
    const dimension = settings.dimension as number;
    if (weights.rank !== 2 || weights.shape[0] !== map.features(dimension))
      throw new ParameterError(
        `weights must have shape [${map.features(dimension)}, c], got ${formatShape(weights.shape)}`,
      );
    return { ...common, predict: (x) => ({ out: x.runtime.scope(() => matmul(map.forward(x), weights)) }) };
  }
  const kernel = rest as unknown as Kernel;
  if (method === 'gaussian-process') {
    const numbers = { amplitude, noise, logLikelihood } as Record<'amplitude' | 'noise' | 'logLikelihood', number>;
    const process = createGaussianProcess({ kernel, ...numbers, ...parts });
    return {
      ...common,
      predict(x) {
        const { mean, variance } = process.predict(x);
        return { out: mean, variance };
      },
    };
  }
  const model = createKernelRidge({ kernel, ...parts });
  return { ...common, predict: (x) => ({ out: model.predict(x) }) };
}

function mapOf({
  method: _,
  map,
  dimension,
  bandwidth,
  order,
  ...drawn
}: Omit<ParamsOf<'random-features'>, 'ridge'> & { readonly method: string; readonly dimension: number }): FeatureMap {
  for (const [name, given, of] of [
    ['bandwidth', bandwidth, 'fourier'],
    ['order', order, 'arc-cosine'],
  ] as const)
    if (given !== undefined && map !== of) throw new ParameterError(`${name} is of the map ${of}, got ${map}`);
  const options = { dimension, ...drawn };
  if (map === 'fourier') return fourier({ ...options, bandwidth });
  return map === 'positive' ? positive(options) : arcCosine({ ...options, degree: order as 0 | 1 | 2 | undefined });
}

const FORMAT = 'saccade fit';
const VERSION = '1';

/** A file of a model; with classes, predictions are scores of so many. */
export async function writeFitted({ settings, tensors }: Fitted, classes: number | undefined): Promise<Uint8Array> {
  const hosts: Record<string, HostTensor> = {};
  for (const [name, tensor] of Object.entries(tensors)) hosts[name] = await tensor.toHost();
  const metadata = {
    ...{ format: FORMAT, version: VERSION, settings: JSON.stringify(settings) },
    ...(classes !== undefined && { classes: String(classes) }),
  };
  return writeSafetensors(hosts, { metadata });
}

/**
 * The model in a file, which is believed in nothing.
 *
 * @throws {ParseError} a file of something else, or of a model that cannot be, with the file's name
 */
export function readFitted(path: string, bytes: Uint8Array, runtime: Runtime): Fitted & { readonly classes?: number } {
  try {
    const metadata = readSafetensorsMetadata(bytes);
    if (metadata.format !== FORMAT) throw new ParseError(`expected a file of saccade fit`);
    if (metadata.version !== VERSION)
      throw new ParseError(`expected version ${VERSION} of the format, got ${show(metadata.version)}`);
    const { method, ...settings } = settingsIn(metadata.settings);
    const hosts = readSafetensors(bytes);
    checkHeld(method, hosts);
    const classes = classesIn(metadata.classes, hosts);
    const tensors = Object.fromEntries(
      Object.entries(hosts).map(([name, host]) => [name, runtime.fromHost(host as HostTensor<'f32'>)]),
    );
    return { ...createFitted({ method, ...settings }, tensors), ...(classes !== undefined && { classes }) };
  } catch (error) {
    if (!(error instanceof SaccadeError)) throw error;
    throw error instanceof ParseError ? new ParseError(`${path}: ${error.message}`) : labelled(path, error);
  }
}

const SAVED = {
  'kernel-ridge': valibot.strictObject({ ...ofKernel }),
  'gaussian-process': valibot.strictObject({
    ...ofKernel,
    amplitude: number('', { above: 0, preset: 1 }),
    noise: number('', { least: 0, preset: 0 }),
    logLikelihood: number('', { preset: 0 }),
  }),
  'random-features': valibot.strictObject({
    ...Object.fromEntries(Object.entries(PARAMS['random-features'].entries).filter(([name]) => name !== 'ridge')),
    dimension: whole('', { least: 1, preset: 1 }),
  }),
} as const;

function settingsIn(text: string | undefined): { readonly method: Estimator } & Record<string, unknown> {
  let given: Record<string, unknown>;
  try {
    given = JSON.parse(text ?? '');
  } catch {
    throw new ParseError('its settings are no JSON');
  }
  const { method, ...settings } = (given ?? {}) as { method?: unknown };
  if (!ESTIMATORS.includes(method as Estimator))
    throw new ParseError(`its method must be one of ${ESTIMATORS.join(', ')}, got ${show(method)}`);
  const known = parseParams(method as string, SAVED[method as Estimator] as never, settings as never);
  return { method: method as Estimator, ...(known as object) };
}

/** The tensors that the method has, of their types, all numbers finite. */
function checkHeld(method: Estimator, hosts: Readonly<Record<string, HostTensor>>): void {
  const holds = HOLDS[method];
  const names = Object.keys(hosts).sort().join(', ');
  const wanted = Object.keys(holds).sort().join(', ');
  if (names !== wanted) throw new ParseError(`a ${method} has the tensors ${wanted}, got ${names || 'none'}`);
  for (const [name, { dtype, shape, data }] of Object.entries(hosts)) {
    const types = holds[name] as readonly string[];
    if (!types.includes(dtype)) throw new ParseError(`${name} must be ${types.join(' or ')}, got ${dtype}`);
    if (shape.length !== 2 || shape.includes(0))
      throw new ParseError(`${name} must have two axes and not be empty, got ${formatShape(shape)}`);
    if ((data as Float32Array).some((value) => !Number.isFinite(value)))
      throw new ParseError(`${name} has numbers that are not finite`);
  }
}

function classesIn(text: string | undefined, { weights }: Readonly<Record<string, HostTensor>>): number | undefined {
  if (text === undefined) return undefined;
  if (Number(text) !== weights?.shape[1])
    throw new ParseError(`weights must have a column for each of the ${show(text)} classes, got ${weights?.shape[1]}`);
  return Number(text);
}
