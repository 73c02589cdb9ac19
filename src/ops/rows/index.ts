/** Functions of each row, along the last axis. */
import { ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { Op } from '../op';
import { ROWWISE, type Rowwise, type RowwiseCall } from './call';
import { ROWS, RowwiseParams } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./rows.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./rows.baseline.wasm', import.meta.url),
};

const op: Op<RowwiseCall> = {
  name: 'rowwise',
  reference: async () => (await import('./reference')).rowwise,
  kernels,
  wasm({ operation, x, out }) {
    const columns = x.shape.at(-1) as number;
    const rows = x.size / columns;
    const params = RowwiseParams({ operation: ROWWISE.indexOf(operation), rows, columns, x, out });
    return overElements('rowwise', Math.ceil(rows / ROWS), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planRowwise,
};

/** e^x over its sum along the last axis: x [..., c] -> [..., c], f32, contiguous. A row of -Infinity only gives NaN. */
export function softmax(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return rowwise('softmax', x, options);
}

/** Sums along the last axis: x [..., c] -> [..., 1], f32, contiguous. */
export function sumRows(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return rowwise('sum', x, options);
}

/** The largest along the last axis, NaN if one is NaN: x [..., c] -> [..., 1], f32, contiguous. */
export function maxRows(x: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return rowwise('max', x, options);
}

function rowwise(operation: Rowwise, x: Tensor, options: ResultOptions): Tensor<'f32'> {
  checkFloat32(operation === 'softmax' ? operation : `${operation}Rows`, { x }, options);
  checkContiguous({ x });
  if (x.rank < 1) throw new ShapeError(`x must have shape [..., c], got ${formatShape(x.shape)}`);
  const shape = operation === 'softmax' ? x.shape : [...x.shape.slice(0, -1), 1];
  const spec = { shape, dtype: 'f32', given: options.out } as const;
  const { out } = compute(op, { x }, { out: spec }, ({ out }) => ({ operation, x, out }), options);
  return out;
}
