/** Convolutions of each channel on its own, channels last. */
import { show } from '../check';
import { ParameterError, ShapeError } from '../errors';
import type { Control } from '../runtime/backend';
import { bindShapes, formatShape, sameShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { checkOptions } from './check';
import { compute } from './compute';
import { checkContiguous, checkFloat32, type ResultOptions } from './float32';

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
export async function depthwiseConv(
  x: Tensor,
  weight: Tensor,
  options: DepthwiseConvOptions = {},
): Promise<Tensor<'f32'>> {
  checkOptions('depthwiseConv', options, ['bias', 'dilation', 'out', 'signal', 'onProgress']);
  const { bias, dilation: given, ...others } = options;
  const inputs = { x, weight, ...(bias !== undefined && { bias }) };
  const dilation = checkProblem('depthwiseConv', inputs, given, others);
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const { out } = await compute(inputs, { out: spec }, options, (backend, results, control) =>
    backend.depthwiseConv({ x, weight, bias, out: results.out, dilation, flipped: false }, control),
  );
  return out;
}

/**
 * Gradients of a loss by x, weight and bias, from gradOut, that by the result of `depthwiseConv`; the dilation must be
 * the same.
 */
export async function depthwiseConvBackward(
  x: Tensor,
  weight: Tensor,
  gradOut: Tensor,
  options: DepthwiseConvBackwardOptions = {},
): Promise<Record<'gradX' | 'gradWeight' | 'gradBias', Tensor<'f32'>>> {
  checkOptions('depthwiseConvBackward', options, ['dilation', 'signal', 'onProgress']);
  const { dilation: given, ...others } = options;
  const inputs = { x, weight, gradOut };
  const dilation = checkProblem('depthwiseConvBackward', inputs, given, others);
  if (!sameShape(gradOut.shape, x.shape))
    throw new ShapeError(`gradOut must have the shape of x ${formatShape(x.shape)}, got ${formatShape(gradOut.shape)}`);
  const channels = x.shape[3] as number;
  const results = {
    gradX: { shape: x.shape, dtype: 'f32' },
    gradWeight: { shape: weight.shape, dtype: 'f32' },
    gradBias: { shape: [channels], dtype: 'f32' },
  } as const;
  using ones = x.runtime.tensor(new Float32Array(gradOut.size / channels).fill(1), [1, gradOut.size / channels]);
  return await compute(
    { ...inputs, ones },
    results,
    options,
    async (backend, { gradX, gradWeight, gradBias }, control) => {
      await backend.depthwiseConv({ x: gradOut, weight, out: gradX, dilation, flipped: true }, control);
      await backend.depthwiseConvWeights({ x, gradOut, out: gradWeight, dilation }, control);
      // The sums over all places, as a product.
      using rows = gradOut.reshape([-1, channels]);
      using sums = gradBias.reshape([1, channels]);
      await backend.matmul({ a: ones, b: rows, out: sums }, control);
    },
  );
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
  return dilation as [number, number];
}
