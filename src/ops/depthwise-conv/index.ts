/** Convolutions of each channel on its own, channels last. */
import { show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import type { Control } from '../../runtime/backend';
import { controlOf } from '../../runtime/guard';
import type { Op } from '../../runtime/op';
import { overElements } from '../../runtime/wasm/plan';
import { bindShapes, formatShape, sameShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkOptions } from '../check';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import { sum } from '../reduce';
import type { DepthwiseConvCall, DepthwiseConvWeightsCall } from './call';
import { DepthwiseParams, kernels } from './params.generated';

const forward: Op<DepthwiseConvCall> = {
  name: 'depthwiseConv',
  reference: async () => (await import('./reference')).depthwiseConv,
  kernels,
  wasm({ x, weight, bias, out, dilation, flipped }) {
    const { taps, ...extents } = extentsOf(x, weight, dilation);
    const params = DepthwiseParams({ ...extents, flipped, x, other: weight, bias, out });
    return overElements('depthwiseConv', extents.batch * extents.rows, params, x.size * taps);
  },
  webgpu: async () => (await import('./webgpu')).planDepthwiseConv,
};

const weights: Op<DepthwiseConvWeightsCall> = {
  name: 'depthwiseConvWeights',
  reference: async () => (await import('./reference')).depthwiseConvWeights,
  kernels,
  wasm({ x, gradOut, out, dilation }) {
    const { taps, ...extents } = extentsOf(x, out, dilation);
    const params = DepthwiseParams({ ...extents, flipped: false, x, other: gradOut, bias: undefined, out });
    return overElements('depthwiseWeights', taps, params, x.size * taps);
  },
  webgpu: async () => (await import('./webgpu')).planDepthwiseConvWeights,
};

function extentsOf(x: Tensor, kernels: Tensor, dilation: DepthwiseConvCall['dilation']) {
  const [batch, rows, columns, channels] = x.shape as [number, number, number, number];
  const [kernelRows, kernelColumns] = kernels.shape as [number, number, number];
  const [dilationRows, dilationColumns] = dilation;
  const taps = kernelRows * kernelColumns;
  return { batch, rows, columns, channels, kernelRows, kernelColumns, dilationRows, dilationColumns, taps };
}

interface DepthwiseConvSettings {
  /** Distance between taps, one for both axes or [rows, columns]; default 1. */
  readonly dilation?: number | readonly [rows: number, columns: number] | undefined;
}

export interface DepthwiseConvOptions extends DepthwiseConvSettings, ResultOptions {
  /** [c], added to every result. */
  readonly bias?: Tensor | undefined;
}

export interface DepthwiseConvBackwardOptions extends DepthwiseConvSettings, Control {}

/**
 * out[y, x, c] = bias[c] + the sum over taps (u, w) of weight[u, w, c] x[y + u - ky/2, x + w - kx/2, c]: x [b,y,x,c],
 * weight [ky,kx,c] with odd ky and kx -> [b,y,x,c], f32, contiguous. Zeros lie around the pictures.
 *
 * @throws {ShapeError} ranks or extents that do not fit, kernels of even extent, strided views
 * @throws {ParameterError} an option that is unknown or out of range
 */
export function depthwiseConv(x: Tensor, weight: Tensor, options: DepthwiseConvOptions = {}): Tensor<'f32'> {
  checkOptions('depthwiseConv', options, ['bias', 'dilation', 'out', 'signal', 'onProgress']);
  const { bias, dilation: given, ...others } = options;
  const inputs = { x, weight, ...(bias !== undefined && { bias }) };
  const dilation = checkProblem('depthwiseConv', inputs, given, others);
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ x, weight, bias, out, dilation, flipped: false });
  const { out } = compute(forward, inputs, { out: spec }, call, options, {
    derivative: {
      saves: ['x', 'weight'],
      gradients(saved, gradients, wanted, control) {
        const { x, weight } = saved as Record<'x' | 'weight', Tensor>;
        return gradientsOf(x, weight, gradients.out as Tensor, { dilation, wanted, control });
      },
    },
  });
  return out;
}

/**
 * Gradients of a loss with respect to x, weight and bias, from gradOut, that by the result of `depthwiseConv`; the
 * dilation must be
 * the same.
 */
export function depthwiseConvBackward(
  x: Tensor,
  weight: Tensor,
  gradOut: Tensor,
  options: DepthwiseConvBackwardOptions = {},
): Record<'gradX' | 'gradWeight' | 'gradBias', Tensor<'f32'>> {
  checkOptions('depthwiseConvBackward', options, ['dilation', 'signal', 'onProgress']);
  const { dilation: given, ...others } = options;
  const inputs = { x, weight, gradOut };
  const dilation = checkProblem('depthwiseConvBackward', inputs, given, others);
  if (!sameShape(gradOut.shape, x.shape))
    throw new ShapeError(`gradOut must have the shape of x ${formatShape(x.shape)}, got ${formatShape(gradOut.shape)}`);
  return x.runtime.scope(() => {
    const all = { dilation, wanted: new Set(['x', 'weight', 'bias']), control: options };
    const found = gradientsOf(x, weight, gradOut, all) as Record<'x' | 'weight' | 'bias', Tensor<'f32'>>;
    return { gradX: found.x, gradWeight: found.weight, gradBias: found.bias };
  });
}

interface Wanted {
  readonly dilation: readonly [number, number];
  readonly wanted: ReadonlySet<string>;
  readonly control: Control;
}

function gradientsOf(x: Tensor, weight: Tensor, gradOut: Tensor, { dilation, wanted, control }: Wanted) {
  const like = ({ shape }: Tensor) => ({ out: { shape, dtype: 'f32' } as const });
  const part = (index: number) => controlOf(control, index, 3);
  const onX = ({ out }: { out: Tensor }) => ({ x: gradOut, weight, out, dilation, flipped: true });
  const onWeight = ({ out }: { out: Tensor }) => ({ x, gradOut, out, dilation });
  return {
    ...(wanted.has('x') && { x: compute(forward, { gradOut, weight }, like(x), onX, part(0)).out }),
    ...(wanted.has('weight') && { weight: compute(weights, { x, gradOut }, like(weight), onWeight, part(1)).out }),
    ...(wanted.has('bias') && { bias: sum(gradOut, { axes: [0, 1, 2], ...part(2) }) }),
  };
}

function checkProblem(
  op: string,
  inputs: Readonly<Record<'x' | 'weight', Tensor> & { bias?: Tensor }>,
  given: DepthwiseConvSettings['dilation'],
  options: ResultOptions,
): readonly [number, number] {
  checkFloat32(op, inputs, options);
  checkContiguous(inputs);
  const { x, weight, bias } = inputs;
  const specs: Record<string, string> = { x: 'b y x c', weight: 'ky kx c', ...(bias && { bias: 'c' }) };
  bindShapes(specs, { x: x.shape, weight: weight.shape, ...(bias && { bias: bias.shape }) });
  if (weight.shape.slice(0, 2).some((extent) => extent % 2 === 0))
    throw new ShapeError(`weight must have odd ky and kx, got ${formatShape(weight.shape)}`);
  const dilation = typeof given === 'number' ? [given, given] : given === undefined ? [1, 1] : given;
  if (
    !Array.isArray(dilation) ||
    dilation.length !== 2 ||
    !Array.from(dilation).every((d) => Number.isSafeInteger(d) && d >= 1)
  )
    throw new ParameterError(`dilation must be an integer >= 1, or two, got ${show(given)}`);
  return [...dilation] as [number, number];
}
