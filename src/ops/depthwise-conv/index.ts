/** Convolutions of each channel on its own, channels last. */
import { ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { overElements } from '../../runtime/cpu/plan';
import { controlOf } from '../../runtime/guard';
import type { Op } from '../../runtime/op';
import { formatShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { defineComposite, defineOp, f32, type OptionsOf, type Setting, setting, whole } from '../define';
import type { ResultOptions } from '../float32';
import { sum } from '../reduce';
import { DepthwiseParams, kernels } from './params.generated';
import type { DepthwiseConvCall, Dilation } from './reference';

function extentsOf(x: Tensor, kernels: Tensor, dilation: Dilation) {
  const [batch, rows, columns, channels] = x.shape as [number, number, number, number];
  const [kernelRows, kernelColumns] = kernels.shape as [number, number, number];
  const [dilationRows, dilationColumns] = dilation;
  const taps = kernelRows * kernelColumns;
  return { batch, rows, columns, channels, kernelRows, kernelColumns, dilationRows, dilationColumns, taps };
}

const isDistance = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1;
const given = setting<number | Dilation>(
  'an integer >= 1, or two',
  (value) => isDistance(value) || (Array.isArray(value) && value.length === 2 && Array.from(value).every(isDistance)),
  1,
);
const dilation: Setting<number | Dilation, Dilation> = {
  ...given,
  check(...args) {
    const value = given.check(...args);
    return typeof value === 'number' ? [value, value] : [...value];
  },
};

function checkOdd({ shape }: Tensor): void {
  if (shape.slice(0, 2).some((extent) => extent % 2 === 0))
    throw new ShapeError(`weight must have odd ky and kx, got ${formatShape(shape)}`);
}

const convolution: Omit<Op<DepthwiseConvCall>, 'name'> = {
  reference: async () => (await import('./reference')).depthwiseConv,
  kernels,
  cpu({ x, weight, bias, out, dilation, flipped }) {
    const { taps, ...extents } = extentsOf(x, weight, dilation);
    const params = DepthwiseParams({ ...extents, flipped, x, other: weight, bias, out });
    return overElements('depthwiseConv', extents.batch * extents.rows, params, x.size * taps);
  },
  webgpu: async () => (await import('./webgpu')).planDepthwiseConv,
};

export const depthwiseConvOp = defineOp({
  ...convolution,
  name: 'depthwiseConv',
  inputs: { x: f32('b y x c'), weight: f32('ky kx c') },
  options: {
    /** [c], added to every result. */
    bias: f32('c'),
    /** Distance between taps, one for both axes or [rows, columns]; default 1. */
    dilation,
  },
  results: { out: f32('b y x c') },
  operations: '2 b y x c ky kx',
  more({ weight }) {
    checkOdd(weight);
    return { flipped: false };
  },
  derivative: ({ dilation }): Derivative => ({
    saves: ['x', 'weight'],
    gradients: ({ x, weight }, { out }, wanted, control) =>
      gradientsOf(x as Tensor, weight as Tensor, out as Tensor, { dilation, wanted, control }),
  }),
});

/** @internal */
export const gradXOp = defineOp({
  ...convolution,
  name: 'depthwiseConvInputs',
  inputs: { gradOut: f32('b y x c'), weight: f32('ky kx c') },
  options: { dilation },
  results: { out: f32('b y x c', { fresh: true }) },
  operations: '2 b y x c ky kx',
  more({ gradOut, weight }) {
    checkOdd(weight);
    return { x: gradOut, flipped: true };
  },
});

/** @internal */
export const gradWeightOp = defineOp({
  name: 'depthwiseConvWeights',
  inputs: { x: f32('b y x c'), gradOut: f32('b y x c'), ky: whole({ least: 1 }), kx: whole({ least: 1 }), dilation },
  results: { out: f32('ky kx c') },
  operations: '2 b y x c ky kx',
  reference: async () => (await import('./reference')).depthwiseConvWeights,
  kernels,
  cpu({ x, gradOut, out, dilation }) {
    const { taps, ...extents } = extentsOf(x, out, dilation);
    const params = DepthwiseParams({ ...extents, flipped: false, x, other: gradOut, bias: undefined, out });
    return overElements('depthwiseWeights', taps, params, x.size * taps);
  },
  webgpu: async () => (await import('./webgpu')).planDepthwiseConvWeights,
});

export const depthwiseConvBackwardOp = defineComposite({
  name: 'depthwiseConvBackward',
  inputs: { x: f32('b y x c'), weight: f32('ky kx c'), gradOut: f32('b y x c') },
  options: { dilation },
  results: {
    gradX: f32('b y x c', { fresh: true }),
    gradWeight: f32('ky kx c', { fresh: true }),
    gradBias: f32('c', { fresh: true }),
  },
  operations: '4 b y x c ky kx',
  run: ({ x, weight, gradOut, dilation }, control) =>
    x.runtime.scope(() => {
      const settings = { dilation, wanted: new Set(['x', 'weight', 'bias']), control };
      const found = gradientsOf(x, weight, gradOut, settings) as Record<'x' | 'weight' | 'bias', Tensor<'f32'>>;
      return { gradX: found.x, gradWeight: found.weight, gradBias: found.bias };
    }),
});

export interface DepthwiseConvOptions extends OptionsOf<typeof depthwiseConvOp>, ResultOptions {}
export interface DepthwiseConvBackwardOptions extends OptionsOf<typeof depthwiseConvBackwardOp>, Control {}

/**
 * out[y, x, c] = bias[c] + the sum over taps (u, w) of weight[u, w, c] x[y + u - ky/2, x + w - kx/2, c]: x [b,y,x,c],
 * weight [ky,kx,c] with odd ky and kx -> [b,y,x,c], f32, contiguous. Zeros lie around the pictures.
 *
 * @throws {ShapeError} ranks or extents that do not fit, kernels of even extent, strided views
 * @throws {ParameterError} an option that is unknown or out of range
 */
export function depthwiseConv(x: Tensor, weight: Tensor, options: DepthwiseConvOptions = {}): Tensor<'f32'> {
  return depthwiseConvOp({ x, weight }, options).out;
}

/**
 * Gradients of a loss with respect to x, weight and bias, from gradOut, that by the result of `depthwiseConv`; the
 * dilation must be the same.
 */
export function depthwiseConvBackward(
  x: Tensor,
  weight: Tensor,
  gradOut: Tensor,
  options: DepthwiseConvBackwardOptions = {},
): Record<'gradX' | 'gradWeight' | 'gradBias', Tensor<'f32'>> {
  return depthwiseConvBackwardOp({ x, weight, gradOut }, options);
}

interface Wanted {
  readonly dilation: number | Dilation;
  readonly wanted: ReadonlySet<string>;
  readonly control: Control;
}

function gradientsOf(x: Tensor, weight: Tensor, gradOut: Tensor, { dilation, wanted, control }: Wanted) {
  const [ky, kx] = weight.shape as [number, number];
  const part = (index: number) => controlOf(control, index, 3);
  return {
    ...(wanted.has('weight') && { weight: gradWeightOp({ x, gradOut, ky, kx, dilation }, part(0)).out }),
    ...(wanted.has('x') && { x: gradXOp({ gradOut, weight }, { dilation, ...part(1) }).out }),
    ...(wanted.has('bias') && { bias: sum(gradOut, { axes: [0, 1, 2], ...part(2) }) }),
  };
}
