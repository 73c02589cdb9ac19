/** Convolutions of one to three spatial axes, and transposed ones. */
import { ParameterError, ShapeError, UnsupportedError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { controlOf } from '../../runtime/guard';
import type { Op } from '../../runtime/op';
import type { Elements } from '../../tensor/elements';
import { formatShape, rowMajorStrides, type Shape } from '../../tensor/shape';
import { type Derivative, tapeOf } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { presentOf } from '../check';
import { compute } from '../compute';
import { boolean, choice, defineComposite, f32, type OptionsOf, optional, setting, whole } from '../define';
import type { ResultOptions } from '../float32';
import { mapItems } from '../map/core';
import { Elementwise } from '../map/function';
import { multiply } from '../matmul';
import { sum } from '../reduce';
import { checkSize, padding, perAxis, placesOf, sidesOf, spread } from './axes';
import { type Axes, type Axis, type ConvCall, extentsOf, type Way } from './call';
import { planConv } from './cpu';
import { fourierPlan } from './fourier';
import { kernels as files } from './params.generated';
import { reflected } from './reflect';
import { kernels, layoutOf, ordered, pictures, shapeOf } from './views';

export type { AxisPadding, Padding, PerAxis } from './axes';

const op = (name: string): Op<ConvCall> => ({
  name,
  reference: async () => (await import('./reference')).conv,
  kernels: files,
  cpu: planConv,
  webgpu: async () => (await import('./webgpu')).planConv,
});

const forward = op('conv');
const byX = op('convInputs');
const byWeight = op('convKernels');

const options = {
  /** [o], added to every result. */
  bias: f32('count'),
  /** Elements between windows, for all spatial axes or for each; default 1. */
  stride: perAxis(1, 1),
  /** Distance between taps, for all spatial axes or for each; default 1. */
  dilation: perAxis(1, 1),
  /** What lies around x: so many elements on both sides, `same`, `causal`, or for each axis one of these or [before, after]; default 0. */
  padding,
  /** Groups of channels, of which each has its own kernels; default 1. */
  groups: whole({ least: 1 }, 1),
  /** Whether channels come before the spatial axes in x and in the result, [b, c, ...space]; default false. */
  channelsFirst: boolean(false),
  /** Made by `elementwise`: applied to each element of the result, after the bias, before it is stored. */
  epilogue: optional(setting<Elementwise>('made by elementwise()', (value) => value instanceof Elementwise)),
  /**
   * How kernels of few channels are computed on the CPU: `direct`, `fourier` by transforms of windows of x, or `auto`, the faster
   * by a model of cost, which `runtime.explain()` names; default auto. In transforms every element reaches all results of its window
   * by rounding, and as NaN. Where an axis is padded before x by all taps but one, as `causal` does, `fourier` is refused, and no later
   * element changes an earlier result: transforms of a sequence see only what lies before their windows, which are direct within,
   * and wholly so where a transform is not finite.
   */
  way: choice('auto', 'auto', 'direct', 'fourier'),
};

const inputs = {
  x: f32('b ...space c', { strided: true, swappedBy: 'channelsFirst' }),
  weight: f32('o i ...kernel', { strided: true }),
};

export const convOp = defineComposite({
  name: 'conv',
  inputs,
  options: {
    ...options,
    /** What the padding is: zeros, or x reflected about its first and last elements; default zeros. */
    edges: choice('zeros', 'zeros', 'reflect'),
  },
  results: { out: f32('b ...space o') },
  operations: '2 b ...space o i ...kernel',
  run: ({ x, weight, bias, stride, dilation, padding, groups, channelsFirst, epilogue, way, edges }, control) => {
    const { space, channels, taps } = partsOf(x, weight, channelsFirst);
    const rank = space.length;
    const strides = spread('stride', stride, rank);
    const dilations = spread('dilation', dilation, rank);
    const sides = spread('padding', padding, rank).map((each, at) =>
      sidesOf(each, ((taps[at] as number) - 1) * (dilations[at] as number)),
    );
    const outputs = checkChannels(x, weight, {
      channels,
      groups,
      inputs: weight.shape[1] as number,
      outputs: weight.shape[0] as number,
    });
    checkBias(bias, outputs);
    const results = space.map((extent, at) => {
      const [before, after] = sides[at] as readonly [number, number];
      const [stride, dilation] = [strides[at] as number, dilations[at] as number];
      const window = { extent, taps: taps[at] as number, stride, dilation, before, after };
      return placesOf(window, `weight ${formatShape(weight.shape)}`, x.shape);
    });
    const kind = wayFor(way, sides, taps, dilations);
    return x.runtime.scope(() => {
      const isReflected = edges === 'reflect';
      const source = isReflected ? reflected(x, layoutOf(channelsFirst, x.rank).space, sides) : x;
      const axes = results.map(
        (count, at): Axis => ({
          stride: count === 1 ? 1 : (strides[at] as number),
          dilation: dilations[at] as number,
          up: 1,
          before: isReflected ? 0 : (sides[at]?.[0] as number),
        }),
      );
      const shape = shapeOf(channelsFirst, x.shape[0] as number, results, outputs);
      return withEpilogue(
        { x: source, weight, bias, epilogue },
        (given, options) => {
          if (way !== 'fourier' && isProduct(given, axes, { channelsFirst, groups, space, results }))
            return asProduct(given, options);
          return convolve(
            { ...given, axes: padded(axes), shape, channelsFirst, groups, isTransposed: false, way: kind },
            options,
          );
        },
        control,
      );
    });
  },
});

export const convTransposeOp = defineComposite({
  name: 'convTranspose',
  inputs: { ...inputs, weight: f32('c o ...kernel', { strided: true }) },
  options: {
    ...options,
    /** Elements more at the end of each spatial axis of the result, which no tap of the convolution that it transposes met; default 0. */
    outputPadding: perAxis(0, 0),
  },
  results: { out: f32('b ...space o') },
  operations: '2 b ...space c o ...kernel',
  run: (
    { x, weight, bias, stride, dilation, padding, groups, channelsFirst, epilogue, way, outputPadding },
    control,
  ) => {
    const { space, channels, taps } = partsOf(x, weight, channelsFirst);
    const rank = space.length;
    const strides = spread('stride', stride, rank);
    const dilations = spread('dilation', dilation, rank);
    const more = spread('outputPadding', outputPadding, rank);
    const sides = spread('padding', padding, rank).map((each, at) =>
      sidesOf(each, ((taps[at] as number) - 1) * (dilations[at] as number)),
    );
    const outputs = (weight.shape[1] as number) * groups;
    checkChannels(x, weight, { channels: weight.shape[0] as number, groups, inputs: channels / groups, outputs });
    checkBias(bias, outputs);
    const results = space.map((extent, at) => {
      const [before, after] = sides[at] as readonly [number, number];
      const reach = ((taps[at] as number) - 1) * (dilations[at] as number) + 1;
      const count = (extent - 1) * (strides[at] as number) + reach - before - after + (more[at] as number);
      if (count < 1)
        throw new ParameterError(
          `padding must leave a result, got ${before} and ${after} of ${count + before + after} elements`,
        );
      return count;
    });
    const axes = results.map(
      (_, at): Axis => ({
        stride: 1,
        dilation: -(dilations[at] as number),
        up: strides[at] as number,
        before: -(sides[at]?.[0] as number),
      }),
    );
    const shape = shapeOf(channelsFirst, x.shape[0] as number, results, outputs);
    const kind = wayFor(way, sides, taps, dilations);
    return x.runtime.scope(() =>
      withEpilogue(
        { x, weight, bias, epilogue },
        (given, options) =>
          convolve(
            { ...given, axes: padded(axes), shape, channelsFirst, groups, isTransposed: true, way: kind },
            options,
          ),
        control,
      ),
    );
  },
});

export interface ConvOptions extends OptionsOf<typeof convOp>, ResultOptions {}
export interface ConvTransposeOptions extends OptionsOf<typeof convTransposeOp>, ResultOptions {}

/**
 * Each result is the sum over taps and the channels of its group of weight times x, plus bias: x [b, ...space, c] with one to
 * three spatial axes, or [b, c, ...space], weight [o, c / groups, ...kernel] as PyTorch has it, both f32 of any strides
 * -> [b, ...space, o] or [b, o, ...space].
 *
 * @throws {ShapeError} ranks or extents that do not fit, kernels larger than the padded x, results of 2^31 elements or more
 * @throws {ParameterError} an option that is unknown or out of range, groups that do not divide the channels
 */
export const conv = (x: Tensor, weight: Tensor, options: ConvOptions = {}): Tensor<'f32'> =>
  convOp({ x, weight }, options);

/**
 * The transpose of a convolution, its gradient with respect to x: each element of x adds its multiple of the kernel to the
 * result, at places a stride apart, of which padding cuts off the sides. x as for `conv`, weight [c, o / groups, ...kernel]
 * -> (extent - 1) * stride + (taps - 1) * dilation + 1 - padding + outputPadding results along each axis.
 *
 * @throws {ShapeError} ranks or extents that do not fit, results of 2^31 elements or more
 * @throws {ParameterError} an option that is unknown or out of range, groups that do not divide the channels
 */
export const convTranspose = (x: Tensor, weight: Tensor, options: ConvTransposeOptions = {}): Tensor<'f32'> =>
  convTransposeOp({ x, weight }, options);

/** The spatial extents of x, its channels, and the extents of the kernels. */
function partsOf(x: Tensor, weight: Tensor, channelsFirst: boolean) {
  const { rank, shape } = x;
  if (weight.rank !== rank)
    throw new ShapeError(`weight must have as many axes as x ${formatShape(shape)}, got ${formatShape(weight.shape)}`);
  const { space, channel } = layoutOf(channelsFirst, rank);
  return {
    space: space.map((axis) => shape[axis] as number),
    channels: shape[channel] as number,
    taps: weight.shape.slice(2),
  };
}

interface Channels {
  readonly channels: number;
  readonly groups: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** The channels of the result. */
function checkChannels(x: Tensor, weight: Tensor, { channels, groups, inputs, outputs }: Channels): number {
  if (channels % groups !== 0)
    throw new ParameterError(`groups must divide the ${channels} channels of x ${formatShape(x.shape)}, got ${groups}`);
  if (outputs % groups !== 0)
    throw new ParameterError(
      `groups must divide the ${outputs} kernels of weight ${formatShape(weight.shape)}, got ${groups}`,
    );
  if (inputs * groups !== channels)
    throw new ShapeError(
      `weight must have shape [o, ${channels / groups}, ...kernel] for the ${channels} channels of x ${formatShape(x.shape)} in ${groups} groups, got ${formatShape(weight.shape)}`,
    );
  return outputs;
}

function checkBias(bias: Tensor | undefined, outputs: number): void {
  if (bias && bias.shape[0] !== outputs)
    throw new ShapeError(
      `bias must have shape [${outputs}], one for each channel of the result, got ${formatShape(bias.shape)}`,
    );
}

const NO_AXIS: Axis = { stride: 1, dilation: 1, up: 1, before: 0 };
const padded = (axes: readonly Axis[]): Axes => [NO_AXIS, NO_AXIS, ...axes].slice(-3) as unknown as Axes;

interface Given {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly epilogue: Elementwise | undefined;
}

/** Where the epilogue's gradient is wanted it follows from what it is applied to, which is kept for it. */
function withEpilogue(
  given: Given,
  make: (given: Given, options: ResultOptions) => Tensor<'f32'>,
  control: ResultOptions,
) {
  const { x, weight, bias, epilogue } = given;
  if (!epilogue || !tapeOf('conv', presentOf({ x, weight, bias }))) return make(given, control);
  const plain = make({ ...given, epilogue: undefined }, { signal: control.signal, onProgress: control.onProgress });
  const names = () => ({ inputs: ['x'], outs: ['out'] });
  return mapItems(epilogue.fn, [[plain]], epilogue.numbers, { names }, control)[0]?.[0] as Tensor<'f32'>;
}

/** Whether it is a matrix product of pixels and one kernel of one tap. */
function isProduct(
  { weight }: Given,
  axes: readonly Axis[],
  { channelsFirst, groups, space, results }: { channelsFirst: boolean; groups: number; space: Shape; results: Shape },
): boolean {
  return (
    !channelsFirst &&
    groups === 1 &&
    weight.shape.slice(2).every((extent) => extent === 1) &&
    axes.every(({ before }) => before === 0) &&
    results.every((count, at) => count === space[at])
  );
}

function asProduct({ x, weight, bias, epilogue }: Given, control: ResultOptions): Tensor<'f32'> {
  const b = weight.reshape(weight.shape.slice(0, 2));
  return multiply({ a: x, b, transposeB: true, bias, epilogue }, control);
}

interface Convolution extends Given {
  readonly axes: Axes;
  /** The shape of the result. */
  readonly shape: Shape;
  readonly channelsFirst: boolean;
  readonly groups: number;
  /** Whether weight has the channels of x first. */
  readonly isTransposed: boolean;
  readonly way: Way;
}

/** Kernels as [g, o, i, z, y, x]. */
function kernelsOf(weight: Elements, { groups, isTransposed }: Convolution): Elements {
  const view = kernels(weight, groups);
  return isTransposed ? ordered(view, 0, 2, 1, 3, 4, 5) : view;
}

function convolve(convolution: Convolution, control: ResultOptions): Tensor<'f32'> {
  const { x, weight, bias, epilogue, axes, shape, channelsFirst, groups, way } = convolution;
  checkSize(convolution.isTransposed ? 'convTranspose' : 'conv', shape);
  if (way === 'fourier') checkFourier(convolution);
  const call = ({ out }: { out: Tensor }): ConvCall => ({
    x: pictures(x, channelsFirst, groups),
    weight: kernelsOf(weight, convolution),
    bias,
    epilogue,
    out,
    results: pictures(out, channelsFirst, groups),
    axes,
    way,
  });
  const spec = { shape, dtype: 'f32', given: control.out } as const;
  const derivative = derivativeOf(convolution);
  return compute(forward, presentOf({ x, weight, bias }), { out: spec }, call, control, { derivative }).out;
}

/** Causal ones have no transforms. */
function wayFor(
  way: Way,
  sides: readonly (readonly [number, number])[],
  taps: Shape,
  dilations: readonly number[],
): Way {
  const isCausal = sides.some(([before], at) => {
    const reach = ((taps[at] as number) - 1) * (dilations[at] as number);
    return reach > 0 && before >= reach;
  });
  if (isCausal && way === 'fourier')
    throw new ParameterError(
      `way must be 'auto' or 'direct' for causal padding: in transforms later elements change earlier results by rounding; got 'fourier'`,
    );
  return isCausal && way === 'auto' ? 'local' : way;
}

/** Throws unless the transforms of a forced way can be computed. */
function checkFourier(convolution: Convolution): void {
  const { x, weight, axes, shape, channelsFirst, groups } = convolution;
  if (x.runtime.backend.name === 'webgpu')
    throw new UnsupportedError("way 'fourier' has no kernel for a GPU: choose 'auto' or 'direct'");
  const out = { storage: x.storage, dtype: x.dtype, offset: 0, shape, strides: rowMajorStrides(shape) };
  const extents = extentsOf({
    x: pictures(x, channelsFirst, groups),
    weight: kernelsOf(weight, convolution),
    results: pictures(out, channelsFirst, groups),
  });
  if (!fourierPlan(axes, extents))
    throw new ParameterError(
      `way must be 'auto' or 'direct' for kernels ${formatShape(weight.shape)} of x ${formatShape(x.shape)}: their transforms have three axes, or would be too long; got 'fourier'`,
    );
}

function derivativeOf(convolution: Convolution): Derivative {
  const { channelsFirst, shape } = convolution;
  const { batch, space } = layoutOf(channelsFirst, shape.length);
  return {
    saves: (wanted) => [...(wanted.has('x') ? ['weight'] : []), ...(wanted.has('weight') ? ['x'] : [])],
    gradients(saved, { out }, wanted, control) {
      const gradOut = out as Tensor;
      const part = (index: number) => controlOf(control, index, 2);
      return {
        ...(wanted.has('x') && { x: gradientByX(convolution, saved.weight as Tensor, gradOut, part(0)) }),
        ...(wanted.has('weight') && { weight: gradientByWeight(convolution, saved.x as Tensor, gradOut, part(1)) }),
        ...(wanted.has('bias') && { bias: sum(gradOut, { axes: [batch, ...space] }) }),
      };
    },
  };
}

/** A convolution of the gradient with the kernels turned around: what was a stride there is one between its elements here. */
function gradientByX(convolution: Convolution, weight: Tensor, gradOut: Tensor, control: Control): Tensor {
  const { x, channelsFirst, groups, axes, way } = convolution;
  const call = ({ out }: { out: Tensor }): ConvCall => ({
    x: pictures(gradOut, channelsFirst, groups),
    weight: ordered(kernelsOf(weight, convolution), 0, 2, 1, 3, 4, 5),
    out,
    results: pictures(out, channelsFirst, groups),
    axes: mapped(axes, ({ stride, dilation, up, before }) => ({
      stride: up,
      dilation: -dilation,
      up: stride,
      before: -before,
    })),
    way,
  });
  return compute(byX, { weight, gradOut }, { out: { shape: x.shape, dtype: 'f32' } as const }, call, control).out;
}

/**
 * A convolution of x with the gradient as its kernel, with the batch in the place of channels and channels in the place of the
 * batch, stride and dilation exchanged; of a transposed convolution one of the gradient with x.
 */
function gradientByWeight(convolution: Convolution, x: Tensor, gradOut: Tensor, control: Control): Tensor {
  const { weight, channelsFirst, groups, axes, way } = convolution;
  // All taps' gradients are sums over all of x.
  const isTurned = axes.some(({ dilation }) => dilation < 0);
  const [read, kernel] = isTurned ? [gradOut, x] : [x, gradOut];
  const call = ({ out }: { out: Tensor }): ConvCall => ({
    x: ordered(pictures(read, channelsFirst, groups), 5, 1, 2, 3, 4, 0),
    weight: ordered(pictures(kernel, channelsFirst, groups), 4, 5, 0, 1, 2, 3),
    out,
    results: isTurned
      ? ordered(kernelsOf(out, convolution), 1, 3, 4, 5, 0, 2)
      : ordered(kernelsOf(out, convolution), 2, 3, 4, 5, 0, 1),
    axes: mapped(axes, ({ stride, dilation, up, before }) =>
      isTurned
        ? { stride: Math.abs(dilation), dilation: up, up: 1, before: -before }
        : { stride: dilation, dilation: stride, up: 1, before },
    ),
    way: way === 'local' ? 'auto' : way,
  });
  return compute(byWeight, { x, gradOut }, { out: { shape: weight.shape, dtype: 'f32' } as const }, call, control).out;
}

const mapped = (axes: Axes, map: (axis: Axis) => Axis): Axes => axes.map(map) as unknown as Axes;
