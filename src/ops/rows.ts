/** Functions of each row, along the last axis. */
import { ShapeError } from '../errors';
import type { Rowwise } from '../runtime/backend';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { compute } from './compute';
import { checkContiguous, checkFloat32, type ResultOptions } from './float32';

/** e^x over its sum along the last axis: x [..., c] -> [..., c], f32, contiguous. A row of -Infinity only gives NaN. */
export function softmax(x: Tensor, options: ResultOptions = {}): Promise<Tensor<'f32'>> {
  return rowwise('softmax', x, options);
}

/** Sums along the last axis: x [..., c] -> [..., 1], f32, contiguous. */
export function sumRows(x: Tensor, options: ResultOptions = {}): Promise<Tensor<'f32'>> {
  return rowwise('sum', x, options);
}

/** The largest along the last axis, NaN if one is NaN: x [..., c] -> [..., 1], f32, contiguous. */
export function maxRows(x: Tensor, options: ResultOptions = {}): Promise<Tensor<'f32'>> {
  return rowwise('max', x, options);
}

async function rowwise(operation: Rowwise, x: Tensor, options: ResultOptions): Promise<Tensor<'f32'>> {
  checkFloat32(operation === 'softmax' ? operation : `${operation}Rows`, { x }, options);
  checkContiguous({ x });
  if (x.rank < 1) throw new ShapeError(`x must have shape [..., c], got ${formatShape(x.shape)}`);
  const columns = x.shape.at(-1) as number;
  const shape = operation === 'softmax' ? x.shape : [...x.shape.slice(0, -1), 1];
  const { out } = await compute(
    { x },
    { out: { shape, dtype: 'f32', given: options.out } },
    options,
    async (backend, results, control) => {
      using rows = x.reshape([-1, columns]);
      using outRows = results.out.reshape([rows.shape[0] as number, -1]);
      await backend.rowwise({ operation, x: rows, out: outRows }, control);
    },
  );
  return out;
}
