/** Layer, root mean square and group normalisation: one op over groups of the elements of a row. */
import { checkWhole, show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import type { Op } from '../../runtime/op';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { compute, type Results } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import { sum } from '../reduce';
import type { Norm, NormCall, NormGradientCall } from './call';
import { kernels, NormParams } from './params.generated';

const op: Op<NormCall> = {
  name: 'norm',
  reference: async () => (await import('./reference')).norm,
  kernels,
  wasm: (call) => {
    const params = NormParams({ ...NO_GRADIENT, ...call, gain: call.gain, bias: call.bias });
    return overElements('norm', partsOf(call) * call.groups, params, call.x.size);
  },
  webgpu: async () => (await import('./webgpu')).planNorm,
};

const gradientOp: Op<NormGradientCall> = {
  name: 'gradient of norm',
  reference: async () => (await import('./reference')).normGradient,
  kernels,
  wasm(call) {
    const { gain, gains, biases } = call;
    const params = NormParams({ ...call, gain, gains, biases, bias: undefined, out: undefined });
    return overElements('normGradient', partsOf(call) * call.groups, params, 2 * call.x.size);
  },
  webgpu: async () => (await import('./webgpu')).planNormGradient,
};

const NO_GRADIENT = { gradOut: undefined, gradX: undefined, gains: undefined, biases: undefined };

/** Elements of a task, about, and parts of the rows at most: they depend on extents alone, so the bits do too. */
const RUN = 16384;
const MOST_PARTS = 128;

const partsOf = ({ rows, rowsOfPart }: Norm) => Math.ceil(rows / rowsOfPart);

export interface NormOptions extends ResultOptions {
  /** [c]: factors of the normalised elements; default: ones. */
  readonly gain?: Tensor | undefined;
  /** [c]: added last; default: zeros. */
  readonly bias?: Tensor | undefined;
  /** Added to the variance; default 1e-5. */
  readonly epsilon?: number | undefined;
}

export interface RmsNormOptions extends ResultOptions {
  /** [c]: factors of the normalised elements; default: ones. */
  readonly gain?: Tensor | undefined;
  /** Added to the mean of the squares, under the root; default 1e-6. */
  readonly epsilon?: number | undefined;
  /** Added to the root; default 0. */
  readonly offset?: number | undefined;
}

/**
 * Layer normalisation along the last axis: x [..., c] -> [..., c], f32, contiguous. Each row becomes
 * (x - mean) / sqrt(variance + epsilon) * gain + bias, with the variance over c (not c - 1) elements.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 * @throws {DTypeError} an input that is not f32
 */
export function layerNorm(x: Tensor, options: NormOptions = {}): Tensor<'f32'> {
  return normalise('layerNorm', x, options, CENTRED, rowsOf);
}

/**
 * Each row along the last axis over its root mean square: x [..., c] -> [..., c], f32, contiguous. Rows become
 * x / (sqrt(mean(x^2) + epsilon) + offset) * gain; a row of zeros stays one.
 *
 * @throws {ShapeError} shapes that do not fit, strided views
 * @throws {DTypeError} an input that is not f32
 */
export function rmsNorm(x: Tensor, options: RmsNormOptions = {}): Tensor<'f32'> {
  return normalise('rmsNorm', x, options, ROOT_MEAN_SQUARE, rowsOf);
}

/**
 * Layer normalisation of groups of channels, over all positions of a batch: x [b, ..., c], channels last, -> the same,
 * f32, contiguous. Group i has the channels from i c / groups on; each becomes
 * (x - mean) / sqrt(variance + epsilon) * gain + bias, gain and bias by channel.
 *
 * @throws {ParameterError} groups that do not divide c
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 * @throws {DTypeError} an input that is not f32
 */
export function groupNorm(x: Tensor, groups: number, options: NormOptions = {}): Tensor<'f32'> {
  return normalise('groupNorm', x, options, CENTRED, ({ shape, size, rank }) => {
    if (rank < 2) throw new ShapeError(`x must have shape [b, ..., c], got ${formatShape(shape)}`);
    const [rows, channels] = [shape[0] as number, shape.at(-1) as number];
    checkWhole('groups', groups, 1);
    if (channels % groups !== 0)
      throw new ParameterError(`groups must divide c = ${channels} of x ${formatShape(shape)}, got ${groups}`);
    return { rows, runs: size / rows / channels, groups, columns: channels / groups };
  });
}

type Extents = Pick<Norm, 'rows' | 'runs' | 'groups' | 'columns'>;

/** Of one kind of normalisation: its options beside `gain`, and what they are by default. */
interface Kind {
  readonly centred: boolean;
  readonly options: readonly string[];
  readonly epsilon: number;
}

const CENTRED: Kind = { centred: true, options: ['gain', 'bias', 'epsilon'], epsilon: 1e-5 };
const ROOT_MEAN_SQUARE: Kind = { centred: false, options: ['gain', 'epsilon', 'offset'], epsilon: 1e-6 };

/** Each row a group. */
function rowsOf({ shape, size, rank }: Tensor): Extents {
  if (rank < 1) throw new ShapeError(`x must have shape [..., c], got ${formatShape(shape)}`);
  const columns = shape.at(-1) as number;
  return { rows: size / columns, runs: 1, groups: 1, columns };
}

function normalise(
  name: string,
  x: Tensor,
  options: NormOptions & RmsNormOptions,
  kind: Kind,
  extentsOf: (x: Tensor) => Extents,
): Tensor<'f32'> {
  const norm = checkProblem(name, { x }, options, kind, extentsOf);
  const { gain, bias } = options;
  const inputs = { x, ...(gain !== undefined && { gain }), ...(bias !== undefined && { bias }) };
  checkFloat32(name, inputs, {});
  checkContiguous(inputs);
  const c = x.shape.at(-1) as number;
  for (const [input, { shape }] of Object.entries<Tensor>(inputs).slice(1)) {
    if (!sameShape(shape, [c]))
      throw new ShapeError(
        `${input} must have shape [c] with c = ${c} as in x ${formatShape(x.shape)}, got ${formatShape(shape)}`,
      );
  }
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const derivative: Derivative = {
    saves: Object.keys(inputs).slice(0, gain === undefined ? 1 : 2),
    gradients: (saved, { out }, wanted, control) =>
      gradientsOf({ ...norm, ...(saved as typeof inputs) }, out as Tensor, wanted, control),
  };
  const call = ({ out }: { out: Tensor }) => ({ ...norm, ...inputs, out });
  return compute({ ...op, name }, inputs, { out: spec }, call, options, { derivative }).out;
}

/**
 * The gradient with respect to x of a loss whose gradient with respect to `rmsNorm(x)` is gradOut; the options must be
 * the same.
 *
 * @throws {ShapeError} shapes that differ, strided views
 */
export function rmsNormBackward(x: Tensor, gradOut: Tensor, options: Omit<RmsNormOptions, 'gain'> = {}): Tensor<'f32'> {
  const kind = { ...ROOT_MEAN_SQUARE, options: ['epsilon', 'offset'] };
  const norm = checkProblem('rmsNormBackward', { x, gradOut }, options, kind, rowsOf);
  if (!sameShape(x.shape, gradOut.shape))
    throw new ShapeError(`gradOut must have the shape of x ${formatShape(x.shape)}, got ${formatShape(gradOut.shape)}`);
  return gradientsOf({ ...norm, x }, gradOut, new Set(), options).x;
}

/** The gradients with respect to x, always, and to gain and bias if wanted, from that with respect to the result. */
function gradientsOf(norm: Norm, gradOut: Tensor, wanted: ReadonlySet<string>, options: ResultOptions) {
  const { x, gain, groups, columns } = norm;
  const sums = { shape: [partsOf(norm), groups * columns], dtype: 'f32' } as const;
  const specs = {
    out: { shape: x.shape, dtype: 'f32', given: options.out } as const,
    ...(wanted.has('gain') && { gains: sums }),
    ...(wanted.has('bias') && { biases: sums }),
  };
  const inputs = { x, gradOut, ...(gain && { gain }) };
  const call = ({ out: gradX, ...parts }: Results<typeof specs>) => ({ ...norm, gradOut, gradX, ...parts });
  const { out, gains, biases } = compute(gradientOp, inputs, specs, call, options);
  const [gradGain, gradBias] = [gains, biases].map((parts) => parts && sum(parts, { axes: [0] }));
  return { x: out, gain: gradGain, bias: gradBias };
}

function checkProblem(
  name: string,
  inputs: Readonly<{ x: Tensor } & Record<string, Tensor>>,
  options: RmsNormOptions,
  kind: Kind,
  extentsOf: (x: Tensor) => Extents,
): Norm {
  checkFloat32(name, inputs, options, kind.options);
  checkContiguous(inputs);
  const { epsilon = kind.epsilon, offset = 0 } = options;
  for (const [option, value] of Object.entries({ epsilon, offset })) {
    if (!(Number.isFinite(value) && value >= 0))
      throw new ParameterError(`${option} must be a finite number >= 0, got ${show(value)}`);
  }
  const { x } = inputs;
  const extents = extentsOf(x);
  const { rows, runs, columns } = extents;
  const rowsOfPart = Math.max(Math.ceil(rows / MOST_PARTS), Math.ceil(RUN / (runs * columns)));
  return { x, ...extents, centred: kind.centred, epsilon, offset, rowsOfPart };
}
