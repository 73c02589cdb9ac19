/** Rows added up by index. */
import type { Tensor } from '../../tensor/tensor';
import { differentiable } from '../define';
import type { ResultOptions } from '../float32';
import { gather } from '../gather';
import { addRowsOp } from './core';

/** @internal */
export const scatterAddOp = differentiable(addRowsOp, () => ({
  saves: ['indices'],
  gradients: ({ indices }, { out: gradOut }, _, control) => ({
    values: gather(gradOut as Tensor, indices as Tensor, control),
  }),
}));

/**
 * Sums of the rows with the same index: values [..., c] f32, indices [...] i32 from 0 to rows - 1 -> [rows, c], zeros
 * where an index does not occur; contiguous. On the CPU a sum is taken in the order of the indices, on a GPU in one that
 * depends on the shapes alone. It is the gradient of `gather` with respect to its table, scatterAdd(gradOut, indices, t);
 * its own with respect to values is gather(gradOut, indices).
 *
 * @throws {ShapeError} shapes that do not fit, strided views, an index outside the rows
 * @throws {DTypeError} values that are not f32, indices that are not i32
 */
export function scatterAdd(values: Tensor, indices: Tensor, rows: number, options: ResultOptions = {}): Tensor<'f32'> {
  return scatterAddOp({ values, indices, rows }, options).out;
}
