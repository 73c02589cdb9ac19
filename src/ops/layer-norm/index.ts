import { show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { Op } from '../op';
import type { LayerNormCall } from './call';
import { LayerNormParams, ROWS } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./layer-norm.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./layer-norm.baseline.wasm', import.meta.url),
};

const op: Op<LayerNormCall> = {
  name: 'layerNorm',
  reference: async () => (await import('./reference')).layerNorm,
  kernels,
  wasm({ x, gain, bias, out, epsilon }) {
    const columns = gain.size;
    const rows = x.size / columns;
    const params = LayerNormParams({ rows, columns, epsilon, x, gain, bias, out });
    return overElements('layerNorm', Math.ceil(rows / ROWS), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planLayerNorm,
};

export interface LayerNormOptions extends ResultOptions {
  /** Added to the variance; default 1e-5. */
  readonly epsilon?: number | undefined;
}

/**
 * Layer normalisation along the last axis: x [..., c], gain [c], bias [c] -> [..., c], f32, contiguous.
 * Each row becomes (x - mean) / sqrt(variance + epsilon) * gain + bias, with the variance over c (not c - 1) elements.
 *
 * @throws {ShapeError} ranks or extents that do not fit, strided views
 * @throws {DTypeError} an input that is not f32
 */
export function layerNorm(x: Tensor, gain: Tensor, bias: Tensor, options: LayerNormOptions = {}): Tensor<'f32'> {
  checkFloat32('layerNorm', { x, gain, bias }, options, ['epsilon']);
  checkContiguous({ x, gain, bias });
  if (x.rank < 1) throw new ShapeError(`x must have shape [..., c], got ${formatShape(x.shape)}`);
  const columns = x.shape.at(-1) as number;
  for (const [name, { shape, rank }] of Object.entries({ gain, bias })) {
    if (rank !== 1 || shape[0] !== columns) {
      throw new ShapeError(
        `${name} must have shape [c] with c = ${columns} as in x ${formatShape(x.shape)}, got ${formatShape(shape)}`,
      );
    }
  }
  const { epsilon = 1e-5 } = options;
  if (typeof epsilon !== 'number' || !(epsilon >= 0 && epsilon < Number.POSITIVE_INFINITY))
    throw new ParameterError(`epsilon must be a finite number >= 0, got ${show(epsilon)}`);

  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ x, gain, bias, out, epsilon });
  const { out } = compute(op, { x, gain, bias }, { out: spec }, call, options);
  return out;
}
