import { ParameterError } from '../../errors';
import { contiguous, overElements } from '../../runtime/cpu/plan';
import type { Op } from '../../runtime/op';
import type { DType } from '../../tensor/dtype';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { indicesWithin } from '../check';
import { widened } from '../copy';
import { defineComposite, defineOp, f32, floats, i32, orOperand } from '../define';
import type { ResultOptions } from '../float32';
import { PackedWeight, packedRows } from '../packed';
import { PACKED_TYPES } from '../packed/params';
import { addRows } from '../scatter-add/core';
import { GatherParams, kernels, ROWS } from './params.generated';
import type { GatherCall } from './reference';

const gatherKernels: Omit<Op<GatherCall>, 'name'> = {
  reference: async () => (await import('./reference')).gather,
  kernels,
  cpu({ table, indices, out }) {
    const [count, columns] = table.shape as [number, number];
    const rows = indices.size;
    const params = GatherParams({ rows, columns, count, table: contiguous(table), indices, out: contiguous(out) });
    return overElements('gather', Math.ceil(rows / ROWS), params, out.size);
  },
  webgpu: async () => (await import('./webgpu')).planGather,
  faults: ({ table, indices }) => indicesWithin(indices, table.shape[0] as number),
};

const inputs = { table: floats('t c'), indices: i32('...') };

const derivative = ({ table }: Pick<GatherCall, 'table'>): Derivative => ({
  saves: ['indices'],
  gradients: ({ indices }, { out: gradOut }, _, control) => ({
    table: addRows(widened(gradOut as Tensor), indices as Tensor, table.shape[0] as number, control),
  }),
});

export const gatherOp = defineOp({
  ...gatherKernels,
  name: 'gather',
  inputs,
  results: { out: floats('... c', { like: 'table' }) },
  derivative,
});

const widening = defineOp({ ...gatherKernels, name: 'embedding', inputs, results: { out: f32('... c') }, derivative });

export const embeddingOp = defineComposite({
  name: 'embedding',
  inputs: { ...inputs, table: orOperand(inputs.table, PackedWeight, 't c', PACKED_TYPES) },
  results: { out: f32('... c') },
  run({ table, indices }, control: ResultOptions) {
    if (table instanceof PackedWeight && table.isTransposed)
      throw new ParameterError('table must be packed row by row, got a transpose of one');
    if (!(table instanceof PackedWeight)) return widening({ table, indices }, control).out;
    if (table.isQuantised) return packedRows(table, indices, control);
    return widening({ table: table.parts.values, indices }, control).out;
  },
});

/**
 * Rows of a table: table [t, c] f32, f16 or bf16, indices [...] i32 from 0 to t - 1 -> [..., c] of the table's dtype, row
 * indices[i] at i; contiguous. Its gradient with respect to the table is scatterAdd(gradOut, indices, t), whose own is a
 * gather again.
 *
 * @throws {ShapeError} ranks that do not fit, strided views, an index outside the table
 * @throws {DTypeError} a table that holds no floats, indices that are not i32
 */
export function gather<D extends DType>(table: Tensor<D>, indices: Tensor, options: ResultOptions<D> = {}): Tensor<D> {
  return gatherOp({ table, indices }, options).out as Tensor<DType> as Tensor<D>;
}

/**
 * The rows of a table of weights as f32, whatever floats it holds: table [v, d], which `packWeight` may have made, indices [...]
 * i32, such as tokens, from 0 to v - 1 -> [..., d]. Otherwise as `gather`; a packed table has no gradient.
 */
export function embedding(table: Tensor | PackedWeight, indices: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  return embeddingOp({ table, indices }, options);
}
