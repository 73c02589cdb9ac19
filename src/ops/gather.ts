import { DTypeError, ShapeError } from '../errors';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import { checkTensors, commonRuntime } from './check';
import { compute } from './compute';
import { checkContiguous, checkFloat32, type ResultOptions } from './float32';

/**
 * Rows of a table: table [t, c] f32, indices [...] i32 from 0 to t - 1 -> [..., c], row indices[i] at i; contiguous.
 *
 * @throws {ShapeError} ranks that do not fit, strided views, an index outside the table
 * @throws {DTypeError} a table that is not f32, indices that are not i32
 */
export async function gather(table: Tensor, indices: Tensor, options: ResultOptions = {}): Promise<Tensor<'f32'>> {
  checkFloat32('gather', { table }, options);
  checkTensors({ indices });
  commonRuntime({ table, indices });
  checkContiguous({ table, indices });
  if (table.rank !== 2) throw new ShapeError(`table must have shape [t, c], got ${formatShape(table.shape)}`);
  if (indices.dtype !== 'i32') throw new DTypeError(`indices must be i32, got ${indices.dtype}`);
  if (indices.size === 0) throw new ShapeError(`indices ${formatShape(indices.shape)} is empty`);
  const [rows, columns] = table.shape as [number, number];
  const values = await indices.read();
  const bad = values.findIndex((index) => index < 0 || index >= rows);
  if (bad !== -1)
    throw new ShapeError(`indices must be from 0 to ${rows - 1}, got ${values[bad]} at element ${bad} of indices`);

  const spec = { shape: [...indices.shape, columns], dtype: 'f32', given: options.out } as const;
  const { out } = await compute({ table, indices }, { out: spec }, options, async (backend, results, control) => {
    using list = indices.reshape([-1]);
    using outRows = results.out.reshape([-1, columns]);
    await backend.gather({ table, indices: list, out: outRows }, control);
  });
  return out;
}
