import { ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { Op } from '../op';
import type { SoftmaxCall } from './call';
import { ROWS, SoftmaxParams } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./rows.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./rows.baseline.wasm', import.meta.url),
};

const op: Op<SoftmaxCall> = {
  name: 'softmax',
  reference: async () => (await import('./reference')).softmax,
  kernels,
  wasm({ x, out }) {
    const columns = x.shape.at(-1) as number;
    const rows = x.size / columns;
    const params = SoftmaxParams({ rows, columns, x, out });
    return overElements('softmax', Math.ceil(rows / ROWS), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planSoftmax,
};

/** e^x over its sum along the last axis: x [..., c] -> [..., c], f32, contiguous. A row of -Infinity only gives NaN. */
export function softmax(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  checkFloat32('softmax', { x }, options);
  checkContiguous({ x });
  if (x.rank < 1) throw new ShapeError(`x must have shape [..., c], got ${formatShape(x.shape)}`);
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  return compute(op, { x }, { out: spec }, ({ out }) => ({ x, out }), options).out;
}
