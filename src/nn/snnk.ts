/**
 * Modules of scalable neural network kernels: adapters, and trained layers bundled to one matrix.
 * Source: Sehanobish et al. 2023, arXiv 2310.13225, and the authors' code.
 */
import { checkArray, checkFunction, checkKnown, checkRecord, checkWhole, show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import { drawDirections } from '../feature-maps/draw';
import { fitFeatureRidge } from '../kernels';
import { concat, contiguous } from '../ops/copy';
import { checkFloat32 } from '../ops/float32';
import { add, multiply } from '../ops/map';
import { map } from '../ops/map/map';
import { checkSeed, normal } from '../tensor/random';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { linear } from './linear';
import { countParameters, defineModule, initial, type Module, type Parameters } from './module';

export interface SnnkAdapterConfig {
  readonly width: number;
  /** How many random features inputs and weights have. */
  readonly features: number;
  /** Width of the features' product; by default that of x, which a factor for each channel then scales. */
  readonly hidden?: number | undefined;
  /** Least value of features; default 0. Far below 0 they are linear. */
  readonly floor?: number | undefined;
  /** The seed of the orthogonal projections and of the weights; default 0. */
  readonly seed?: number | undefined;
}

/**
 * x + scale * (weight psi(x)), psi(x) = max(projections x, floor) / sqrt(features): x [..., n, width] -> the same shape, which is x at
 * first. Parameters: `weight` [width, features], weights from N(0, 0.02^2) mapped by psi, and `scale` [width]; with `hidden`,
 * `weight` [hidden, features] and a projection back, `up.weight` [width, hidden] and `up.bias`. `projections` [features, width]
 * is a buffer.
 *
 * @throws {ParameterError} a setting that is unknown or out of range
 */
export function snnkAdapter(config: SnnkAdapterConfig): Module {
  const known = ['width', 'features', 'hidden', 'floor', 'seed'];
  checkKnown('config', config, known, (name) => `config has no '${name}'`);
  const { width, features, hidden, floor = 0, seed = 0 } = config;
  checkWhole('width', width, 1, MOST);
  checkWhole('features', features, 1, MOST);
  if (hidden !== undefined) checkWhole('hidden', hidden, 1, MOST);
  checkFloor(floor);
  checkSeed(seed);
  const directions = drawDirections(features, { dimension: width, features, seed });
  const rows = hidden ?? width;
  const weights = normal(rows * width, seed + 1).map((value) => 0.02 * value);
  const parameters = {
    projections: { shape: [features, width], initial: { values: directions }, isBuffer: true },
    weight: {
      shape: [rows, features],
      initial: { values: featuresOnHost(weights, directions, width, floor) },
    },
  };
  const zeros = (...shape: number[]) => ({ shape, initial: { value: 0 } });
  const within = (x: Tensor, { projections, weight }: Readonly<Record<'projections' | 'weight', Tensor>>) =>
    linear(featuresOf(x, projections, floor), weight);
  return hidden === undefined
    ? defineModule({
        name: 'snnk adapter',
        parameters: { ...parameters, scale: zeros(width) },
        forward: (x, given) => add(x, multiply(within(x, given), given.scale)),
      })
    : defineModule({
        name: 'snnk adapter',
        parameters: { ...parameters, 'up.weight': zeros(width, hidden), 'up.bias': zeros(width) },
        forward: (x, given) => add(x, linear(within(x, given), given['up.weight'], { bias: given['up.bias'] })),
      });
}

/** Extents that memory is enough for. */
const MOST = 2 ** 16;

function checkFloor(floor: unknown): void {
  if (!Number.isFinite(floor)) throw new ParameterError(`floor must be a finite number, got ${show(floor)}`);
}

/** max(projections x, floor) / sqrt(m). */
function featuresOf(x: Tensor, projections: Tensor, floor: number): Tensor {
  const factor = 1 / Math.sqrt(projections.shape[0] as number);
  return map((t, { floor, factor }) => factor * Math.max(t, floor), linear(x, projections), {
    captured: { floor, factor },
  });
}

/** The same of rows in host memory. */
function featuresOnHost(rows: Float32Array, projections: Float32Array, width: number, floor: number): Float32Array {
  const [count, m] = [rows.length / width, projections.length / width];
  const out = new Float32Array(count * m);
  for (let i = 0; i < count; i++)
    for (let j = 0; j < m; j++) {
      let dot = 0;
      for (let k = 0; k < width; k++) dot += rows[i * width + k]! * projections[j * width + k]!;
      out[i * m + j] = Math.max(dot, floor) / Math.sqrt(m);
    }
  return out;
}

export interface BundleOptions {
  /** How many features each layer has that the bundle stands for, first to last. */
  readonly features: readonly number[];
  /** [n, c], such as labels, which the bundle is fitted to; default: the results of the network. */
  readonly targets?: Tensor | undefined;
  /** Added to the diagonal of the matrix of features, as it is; default 1e-3. */
  readonly ridge?: number | undefined;
  /** Least value of features; default 0. */
  readonly floor?: number | undefined;
  /** The seed of the orthogonal projections; default 0. */
  readonly seed?: number | undefined;
}

/** A network's layers as one. */
export interface Bundle {
  /** weight psi_t(...psi_1(x)) + bias, of `weight` [c, m_t], `bias` [c] and buffers `projections.0`, ... */
  readonly module: Module;
  /** Its parameters and buffers, which are the caller's to dispose. */
  readonly parameters: Record<string, Tensor<'f32'>>;
  /** How many parameters the network has, and the bundle, without its random projections, which `random` counts. */
  readonly before: number;
  readonly after: number;
  readonly random: number;
}

/**
 * Bundles a trained network: random features of random features of its inputs take the place of all layers but one matrix, whose
 * squared error on points x [n, width] is least, with the ridge, by a solve. A feature of 1 beside x gives the biases.
 *
 * @throws {ParameterError} an option that is unknown or out of range, numbers that are not finite
 * @throws {ShapeError} points or results that are no rows
 */
export async function bundleLayers(
  network: Module,
  parameters: Parameters,
  x: Tensor,
  options: BundleOptions,
): Promise<Bundle> {
  checkRecord('network', network);
  checkFunction('forward of network', network.forward);
  const known = ['features', 'targets', 'ridge', 'floor', 'seed'];
  checkKnown('options', options, known, (name) => `bundleLayers has no option '${name}'`);
  const { features, targets, ridge = 1e-3, floor = 0, seed = 0 } = options;
  checkArray('features', features);
  if (features.length === 0) throw new ParameterError('features must be at least one number, got none');
  for (const [at, m] of features.entries()) checkWhole(`features[${at}]`, m, 1, MOST);
  checkFloor(floor);
  checkSeed(seed);
  checkFloat32('bundleLayers', { x, ...(targets !== undefined && { targets }) }, {});
  const before = countParameters(network);
  const found = targets ?? network.forward(x, parameters);
  try {
    if (x.rank !== 2 || found.rank !== 2 || x.shape[0] !== found.shape[0])
      throw new ShapeError(
        `x and ${targets ? 'targets' : 'the results of the network'} must have shapes [n, width] and [n, c], got ${formatShape(x.shape)} and ${formatShape(found.shape)}`,
      );
    const module = bundle(x.shape[1] as number, found.shape[1] as number, features, floor, seed);
    return { ...(await fitted(module, x, found, { floor, ridge })), before };
  } finally {
    if (targets === undefined) found.dispose();
  }
}

/** The module of a bundle before it is fitted. */
function bundle(width: number, out: number, features: readonly number[], floor: number, seed: number): Module {
  const drawn = features.map((m, at) => {
    const dimension = at === 0 ? width + 1 : (features[at - 1] as number);
    const values = drawDirections(m, { dimension, features: m, seed: seed + at });
    return [`projections.${at}`, { shape: [m, dimension], initial: { values }, isBuffer: true }] as const;
  });
  return defineModule({
    name: 'snnk bundle',
    parameters: {
      ...Object.fromEntries(drawn),
      weight: { shape: [out, features.at(-1) as number], initial: { value: 0 } },
      bias: { shape: [out], initial: { value: 0 } },
    },
    forward(x, given: Readonly<Record<string, Tensor>>) {
      const projections = features.map((_, at) => given[`projections.${at}`] as Tensor);
      return linear(tower(x, projections, floor), given.weight as Tensor, { bias: given.bias });
    },
  });
}

/** The bundle with the least squared error, whose bias is the weight of one more feature, of ones. */
async function fitted(
  module: Module,
  x: Tensor,
  targets: Tensor,
  { floor, ridge }: Record<'floor' | 'ridge', number>,
): Promise<Omit<Bundle, 'before'>> {
  const { runtime } = x;
  const { weight: unfitted, bias: without, ...projections } = initial(module, runtime);
  for (const each of [unfitted, without]) each?.dispose();
  try {
    const drawn = Object.values(projections);
    const [c, m] = module.parameters.weight!.shape as [number, number];
    const map = {
      name: module.name,
      features: () => m + 1,
      forward: (rows: Tensor) => runtime.scope(() => withOnes(tower(rows, drawn, floor))) as Tensor<'f32'>,
    };
    const { weights } = await fitFeatureRidge(map, x, targets, { ridge });
    using _ = weights;
    const [weight, bias] = runtime.scope(() => [
      contiguous(weights.slice(0, 0, m).permute([1, 0])),
      contiguous(weights.slice(0, m, m + 1).reshape([c])),
    ]) as [Tensor<'f32'>, Tensor<'f32'>];
    return {
      module,
      parameters: { ...projections, weight, bias },
      after: countParameters(module),
      random: drawn.reduce((sum, each) => sum + each.size, 0),
    };
  } catch (error) {
    for (const each of Object.values(projections)) each.dispose();
    throw error;
  }
}

/** psi_t(...psi_1((x, 1))). */
const tower = (x: Tensor, projections: readonly Tensor[], floor: number): Tensor =>
  projections.reduce((rows, each) => featuresOf(rows, each, floor), withOnes(x));

/** x [..., d] -> [..., d + 1], the last column of ones. */
const withOnes = (x: Tensor): Tensor =>
  concat([x as Tensor<'f32'>, x.runtime.ones([...x.shape.slice(0, -1), 1])], x.rank - 1);
