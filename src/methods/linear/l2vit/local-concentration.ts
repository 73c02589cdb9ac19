/**
 * The local concentration module of L2ViT: two depthwise convolutions that gather again what linear attention spread.
 * Source: Zheng 2025, arXiv 2501.16182, equations 6 and 7, and the author's code.
 */
import { checkKnown } from '../../../check';
import { batchNorm } from '../../../ops/batch-norm';
import { checkOptions, checkTensors, commonRuntime } from '../../../ops/check';
import { conv } from '../../../ops/conv';
import { gelu } from '../../../ops/map';
import type { Control } from '../../../runtime/backend';
import { bindShapes } from '../../../tensor/shape';
import type { Tensor } from '../../../tensor/tensor';

/** Over c channels; f32, contiguous. */
export interface LocalConcentrationWeights {
  /** [ky, kx, c], in the paper 7 by 7, and [c]. */
  readonly first: Tensor;
  readonly firstBias: Tensor;
  /** [c], of the batch normalisation. */
  readonly gain: Tensor;
  readonly bias: Tensor;
  readonly second: Tensor;
  readonly secondBias: Tensor;
}

export interface LocalConcentrationOptions extends Control {
  /** Running mean and variance [c]; default: those of the batch, as in training. */
  readonly statistics?: { readonly mean: Tensor; readonly variance: Tensor } | undefined;
}

export interface LocalConcentrationResult {
  /** In the shape of x. */
  readonly out: Tensor<'f32'>;
  /** [c]: the statistics that were used, of which training keeps running averages. */
  readonly mean: Tensor<'f32'>;
  readonly variance: Tensor<'f32'>;
}

/**
 * Depthwise convolution, GELU, batch normalisation, depthwise convolution: x [b, rows, columns, c], tokens as they lie,
 * -> [b, rows, columns, c], to be added to x. With 7 by 7 kernels a token reads the 13 by 13 around it.
 *
 * @throws {ShapeError} ranks or extents that do not fit
 */
export function localConcentration(
  x: Tensor,
  weights: LocalConcentrationWeights,
  options: LocalConcentrationOptions = {},
): LocalConcentrationResult {
  checkInputs(x, weights, options);
  const { statistics, ...control } = options;
  const { first, firstBias, gain, bias, second, secondBias } = weights;
  return x.runtime.scope(() => {
    const spread = byChannel(x, first, firstBias, control);
    const active = gelu(spread);
    const { out: normal, ...used } = batchNorm(active, gain, bias, { statistics, ...control });
    const out = byChannel(normal, second, secondBias, control);
    return { out, ...used };
  });
}

/** Each channel with its own kernel; weight [ky, kx, c]. */
function byChannel(x: Tensor, weight: Tensor, bias: Tensor, control: Control): Tensor<'f32'> {
  bindShapes({ x: 'b y x c', weight: 'ky kx c' }, { x: x.shape, weight: weight.shape });
  const [rows, columns, channels] = weight.shape as [number, number, number];
  const kernels = weight.reshape([rows, columns, channels, 1]).permute([2, 3, 0, 1]);
  return conv(x, kernels, { bias, groups: channels, padding: 'same', ...control });
}

const WEIGHTS = ['first', 'firstBias', 'gain', 'bias', 'second', 'secondBias'] as const;

function checkInputs(x: Tensor, weights: LocalConcentrationWeights, options: LocalConcentrationOptions): void {
  checkKnown('weights', weights, WEIGHTS, (name) => `localConcentration has no weight '${name}'`);
  const tensors = { x, ...Object.fromEntries(WEIGHTS.map((name) => [name, weights[name]])) };
  checkTensors(tensors);
  commonRuntime(tensors);
  checkOptions('localConcentration', options, ['statistics', 'signal', 'onProgress']);
}
