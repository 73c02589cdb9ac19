/** Root mean square normalisation without a gain: `multiply` the result with one where it is wanted. */
import { show } from '../../check';
import { ParameterError, ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { Op } from '../op';
import type { RmsNormCall } from './call';
import { RmsNormParams, ROWS } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./rms-norm.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./rms-norm.baseline.wasm', import.meta.url),
};

const op: Op<RmsNormCall> = {
  name: 'rmsNorm',
  reference: async () => (await import('./reference')).rmsNorm,
  kernels,
  wasm({ x, gradOut, out, epsilon, offset }) {
    const columns = x.shape.at(-1) as number;
    const rows = x.size / columns;
    const params = RmsNormParams({ rows, columns, x, gradOut, out, epsilon, offset });
    return overElements('rmsNorm', Math.ceil(rows / ROWS), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planRmsNorm,
};

export interface RmsNormOptions extends ResultOptions {
  /** Added to the mean of the squares, under the root; default 1e-6. */
  readonly epsilon?: number | undefined;
  /** Added to the root; default 0. */
  readonly offset?: number | undefined;
}

/**
 * Each row along the last axis over its root mean square: x [..., c] -> [..., c], f32, contiguous. Rows become
 * x / (sqrt(mean(x^2) + epsilon) + offset); a row of zeros stays one.
 *
 * @throws {ShapeError} strided views
 * @throws {DTypeError} an input that is not f32
 */
export function rmsNorm(x: Tensor, options: RmsNormOptions = {}): Tensor<'f32'> {
  return normalise('rmsNorm', x, undefined, options);
}

/**
 * The gradient with respect to x of a loss whose gradient with respect to `rmsNorm(x)` is gradOut; the options must be
 * the same.
 *
 * @throws {ShapeError} shapes that differ, strided views
 */
export function rmsNormBackward(x: Tensor, gradOut: Tensor, options: RmsNormOptions = {}): Tensor<'f32'> {
  return normalise('rmsNormBackward', x, gradOut, options);
}

function normalise(name: string, x: Tensor, gradOut: Tensor | undefined, options: RmsNormOptions): Tensor<'f32'> {
  const inputs = { x, ...(name === 'rmsNormBackward' && { gradOut: gradOut as Tensor }) };
  checkFloat32(name, inputs, options, ['epsilon', 'offset']);
  const { epsilon = 1e-6, offset = 0 } = options;
  checkContiguous(inputs);
  if (x.rank < 1) throw new ShapeError(`x must have shape [..., c], got ${formatShape(x.shape)}`);
  if (gradOut && !sameShape(x.shape, gradOut.shape))
    throw new ShapeError(`gradOut must have the shape of x ${formatShape(x.shape)}, got ${formatShape(gradOut.shape)}`);
  for (const [name, value] of Object.entries({ epsilon, offset })) {
    if (!(Number.isFinite(value) && value >= 0))
      throw new ParameterError(`${name} must be a finite number >= 0, got ${show(value)}`);
  }
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ x, gradOut, out, epsilon, offset });
  const derivative: Derivative = {
    saves: ['x'],
    gradients: (saved, { out }, _, control) => ({
      x: rmsNormBackward(saved.x as Tensor, out as Tensor, { ...control, epsilon, offset }),
    }),
  };
  const { out } = compute(op, inputs, { out: spec }, call, options, gradOut ? {} : { derivative });
  return out;
}
