/** Layer, root mean square and group normalisation: one op over groups of the elements of a row. */
import { ParameterError, ShapeError } from '../../errors';
import { overElements } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import { formatShape, type Shape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { compute, type Results } from '../compute';
import { defineOp, f32, number, type OptionsOf, whole } from '../define';
import type { ResultOptions } from '../float32';
import { sum } from '../reduce';
import { kernels, NormParams } from './params.generated';
import type { Norm, NormCall, NormGradientCall } from './reference';

/** The kernels of all three. */
const forward: Omit<Op<NormCall>, 'name'> = {
  reference: async () => (await import('./reference')).norm,
  kernels,
  cpu: (call) => {
    const { gain, bias } = call;
    const params = NormParams({ ...NO_GRADIENT, ...call, groupsOfTask: groupsOfTask(call), gain, bias });
    return overElements('norm', tasksOf(call), params, call.x.size);
  },
  webgpu: async () => (await import('./webgpu')).planNorm,
};

const gradient: Omit<Op<NormGradientCall>, 'name'> = {
  reference: async () => (await import('./reference')).normGradient,
  kernels,
  cpu(call) {
    const { gain, gains, biases, out } = call;
    const params = NormParams({
      ...call,
      groupsOfTask: groupsOfTask(call),
      gain,
      gains,
      biases,
      bias: undefined,
      out: undefined,
      gradX: out,
    });
    return overElements('normGradient', tasksOf(call), params, 2 * call.x.size);
  },
  webgpu: async () => (await import('./webgpu')).planNormGradient,
};

const NO_GRADIENT = { gradOut: undefined, gradX: undefined, gains: undefined, biases: undefined };

/** Elements of a task, about, and parts of the rows at most: they depend on extents alone, so the bits do too. */
const RUN = 16384;
const MOST_PARTS = 128;

const partsOf = ({ rows, rowsOfPart }: Norm) => Math.ceil(rows / rowsOfPart);

type Extents = Pick<Norm, 'rows' | 'runs' | 'groups' | 'columns'>;

/** The groups of a row lie side by side, and short rows are read in one go. */
const groupsOfTask = ({ runs, groups, columns }: Omit<Extents, 'rows'>) =>
  runs * groups * columns <= RUN ? groups : 1;

const tasksOf = (norm: Norm) => (partsOf(norm) * norm.groups) / groupsOfTask(norm);

/** Each row a group. */
function byRow({ shape, size }: Tensor): Extents {
  const columns = shape.at(-1) as number;
  return { rows: size / columns, runs: 1, groups: 1, columns };
}

function byGroup({ shape, size, rank }: Tensor, groups: number): Extents {
  if (rank < 2) throw new ShapeError(`x must have shape [b, ..., c], got ${formatShape(shape)}`);
  const [rows, channels] = [shape[0] as number, shape.at(-1) as number];
  if (channels % groups !== 0)
    throw new ParameterError(`groups must divide c = ${channels} of x ${formatShape(shape)}, got ${groups}`);
  return { rows, runs: size / rows / channels, groups, columns: channels / groups };
}

/** The rows of a part hold as many elements as a task takes. */
function inParts(extents: Extents) {
  const { rows, runs, columns } = extents;
  const elements = runs * columns * groupsOfTask(extents);
  return { ...extents, rowsOfPart: Math.max(Math.ceil(rows / MOST_PARTS), Math.ceil(RUN / elements)) };
}

const gain = f32('c');
const centred = {
  /** [c]: factors of the normalised elements; default: ones. */
  gain,
  /** [c]: added last; default: zeros. */
  bias: f32('c'),
  /** Added to the variance; default 1e-5. */
  epsilon: number({ least: 0 }, 1e-5),
};
const rms = {
  /** Added to the mean of the squares, under the root; default 1e-6. */
  epsilon: number({ least: 0 }, 1e-6),
  /** Added to the root; default 0. */
  offset: number({ least: 0 }, 0),
};

export const layerNormOp = defineOp({
  ...forward,
  name: 'layerNorm',
  inputs: { x: f32('... c') },
  options: centred,
  results: { out: f32('... c') },
  operations: '8 ... c',
  more: ({ x }) => ({ ...inParts(byRow(x)), centred: true, offset: 0 }),
  derivative: derivativeOf,
});

export const rmsNormOp = defineOp({
  ...forward,
  name: 'rmsNorm',
  inputs: { x: f32('... c') },
  options: {
    /** [c]: factors of the normalised elements; default: ones. */
    gain,
    ...rms,
  },
  results: { out: f32('... c') },
  operations: '5 ... c',
  more: ({ x }) => ({ ...inParts(byRow(x)), centred: false }),
  derivative: derivativeOf,
});

export const groupNormOp = defineOp({
  ...forward,
  name: 'groupNorm',
  inputs: { x: f32('... c'), groups: whole({ least: 1 }) },
  options: centred,
  results: { out: f32('... c') },
  operations: '8 ... c',
  more: ({ x, groups }) => ({ ...inParts(byGroup(x, groups)), centred: true, offset: 0 }),
  derivative: derivativeOf,
});

export interface NormOptions extends OptionsOf<typeof layerNormOp>, ResultOptions {}
export interface RmsNormOptions extends OptionsOf<typeof rmsNormOp>, ResultOptions {}

/**
 * Layer normalisation along the last axis: x [..., c] -> [..., c], f32, contiguous. Each row becomes
 * (x - mean) / sqrt(variance + epsilon) * gain + bias, with the variance over c (not c - 1) elements.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 * @throws {DTypeError} an input that is not f32
 */
export function layerNorm(x: Tensor, options: NormOptions = {}): Tensor<'f32'> {
  return layerNormOp({ x }, options).out;
}

/**
 * Each row along the last axis over its root mean square: x [..., c] -> [..., c], f32, contiguous. Rows become
 * x / (sqrt(mean(x^2) + epsilon) + offset) * gain; a row of zeros stays one.
 *
 * @throws {ShapeError} shapes that do not fit, strided views
 * @throws {DTypeError} an input that is not f32
 */
export function rmsNorm(x: Tensor, options: RmsNormOptions = {}): Tensor<'f32'> {
  return rmsNormOp({ x }, options).out;
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
  return groupNormOp({ x, groups }, options).out;
}

export const rmsNormBackwardOp = defineOp({
  ...gradient,
  name: 'rmsNormBackward',
  inputs: { x: f32('... c'), gradOut: f32('... c') },
  options: rms,
  results: { out: f32('... c') },
  operations: '9 ... c',
  more: ({ x }) => ({ ...inParts(byRow(x)), centred: false }),
});

/**
 * The gradient with respect to x of a loss whose gradient with respect to `rmsNorm(x)` is gradOut; the options must be
 * the same.
 *
 * @throws {ShapeError} shapes that differ, strided views
 */
export function rmsNormBackward(x: Tensor, gradOut: Tensor, options: Omit<RmsNormOptions, 'gain'> = {}): Tensor<'f32'> {
  return rmsNormBackwardOp({ x, gradOut }, options).out;
}

function derivativeOf(norm: Norm): Derivative {
  return {
    saves: ['x', 'gain'],
    gradients({ x, gain }, { out: gradOut }, wanted, control) {
      const sums = { shape: [partsOf(norm), norm.groups * norm.columns] as Shape, dtype: 'f32' } as const;
      const specs = {
        out: { shape: (x as Tensor).shape, dtype: 'f32' } as const,
        ...(wanted.has('gain') && { gains: sums }),
        ...(wanted.has('bias') && { biases: sums }),
      };
      const inputs = { x: x as Tensor, gradOut: gradOut as Tensor, ...(gain && { gain }) };
      const call = (results: Results<typeof specs>) => ({ ...norm, ...inputs, ...results });
      const { out, gains, biases } = compute({ ...gradient, name: 'gradient of norm' }, inputs, specs, call, control);
      const [gradGain, gradBias] = [gains, biases].map((parts) => parts && sum(parts, { axes: [0] }));
      return { x: out, gain: gradGain, bias: gradBias };
    },
  };
}
