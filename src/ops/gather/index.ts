import { DTypeError, ShapeError } from '../../errors';
import type { Op } from '../../runtime/op';
import { FLOATS } from '../../runtime/wasm/params';
import { contiguous, overElements } from '../../runtime/wasm/plan';
import type { DType } from '../../tensor/dtype';
import { formatShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkControl, checkOptions, checkTensors, commonRuntime, indicesWithin } from '../check';
import { compute } from '../compute';
import { widened } from '../copy';
import { checkContiguous, type ResultOptions } from '../float32';
import { addRows } from '../scatter-add/core';
import type { GatherCall } from './call';
import { GatherParams, kernels, ROWS } from './params.generated';

const op: Op<GatherCall> = {
  name: 'gather',
  reference: async () => (await import('./reference')).gather,
  kernels,
  wasm({ table, indices, out }) {
    const [count, columns] = table.shape as [number, number];
    const rows = indices.size;
    const params = GatherParams({ rows, columns, count, table: contiguous(table), indices, out: contiguous(out) });
    return overElements('gather', Math.ceil(rows / ROWS), params, out.size);
  },
  webgpu: async () => (await import('./webgpu')).planGather,
  faults: ({ table, indices }) => indicesWithin(indices, table.shape[0] as number),
};

/**
 * Rows of a table: table [t, c] f32, f16 or bf16, indices [...] i32 from 0 to t - 1 -> [..., c] of the table's dtype, row
 * indices[i] at i; contiguous. Its gradient with respect to the table is scatterAdd(gradOut, indices, t), whose own is a
 * gather again.
 *
 * @throws {ShapeError} ranks that do not fit, strided views, an index outside the table
 * @throws {DTypeError} a table that holds no floats, indices that are not i32
 */
export function gather<D extends DType>(table: Tensor<D>, indices: Tensor, options: ResultOptions<D> = {}): Tensor<D> {
  checkGather('gather', table, indices, options);
  return gathered(table, indices, table.dtype, options);
}

/**
 * The rows of a table of weights as f32, whatever floats it holds: table [v, d], indices [...] i32, such as tokens, from 0
 * to v - 1 -> [..., d]. Otherwise as `gather`.
 */
export function embedding(table: Tensor, indices: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  checkGather('embedding', table, indices, options);
  return gathered(table, indices, 'f32', options);
}

function gathered<D extends DType>(table: Tensor, indices: Tensor, dtype: D, options: ResultOptions<D>): Tensor<D> {
  const spec = { shape: [...indices.shape, table.shape[1] as number], dtype, given: options.out };
  const call = ({ out }: { out: Tensor }) => ({ table, indices, out });
  const rows = table.shape[0] as number;
  const derivative: Derivative = {
    saves: ['indices'],
    gradients: (saved, { out: gradOut }, _, control) => ({
      table: addRows(widened(gradOut as Tensor), saved.indices as Tensor, rows, control),
    }),
  };
  return compute(op, { table, indices }, { out: spec }, call, options, { derivative }).out as Tensor<D>;
}

function checkGather(name: string, table: Tensor, indices: Tensor, options: ResultOptions<DType>): void {
  checkTensors({ table, indices });
  commonRuntime({ table, indices });
  checkOptions(name, options, ['out', 'signal', 'onProgress']);
  checkControl(options);
  checkContiguous({ table, indices });
  if (!(FLOATS as readonly DType[]).includes(table.dtype))
    throw new DTypeError(`table must be ${FLOATS.join(', ')}, got ${table.dtype}`);
  if (table.rank !== 2) throw new ShapeError(`table must have shape [t, c], got ${formatShape(table.shape)}`);
  if (indices.dtype !== 'i32') throw new DTypeError(`indices must be i32, got ${indices.dtype}`);
  for (const [name, { size, shape }] of Object.entries({ table, indices }))
    if (size === 0) throw new ShapeError(`${name} ${formatShape(shape)} is empty`);
}
