import { DTypeError, ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkTensors, commonRuntime, indicesWithin } from '../check';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { Op } from '../op';
import { scatterAdd } from '../scatter-add';
import type { GatherCall } from './call';
import { GatherParams, ROWS } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./gather.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./gather.baseline.wasm', import.meta.url),
};

const op: Op<GatherCall> = {
  name: 'gather',
  reference: async () => (await import('./reference')).gather,
  kernels,
  wasm({ table, indices, out }) {
    const [count, columns] = table.shape as [number, number];
    const rows = indices.size;
    const params = GatherParams({ rows, columns, count, table, indices, out });
    return overElements('gather', Math.ceil(rows / ROWS), params, out.size);
  },
  webgpu: async () => (await import('./webgpu')).planGather,
  faults: ({ table, indices }) => indicesWithin(indices, table.shape[0] as number),
};

/**
 * Rows of a table: table [t, c] f32, indices [...] i32 from 0 to t - 1 -> [..., c], row indices[i] at i; contiguous.
 * Its gradient with respect to the table is scatterAdd(gradOut, indices, t), whose own is a gather again.
 *
 * @throws {ShapeError} ranks that do not fit, strided views, an index outside the table
 * @throws {DTypeError} a table that is not f32, indices that are not i32
 */
export function gather(table: Tensor, indices: Tensor, options: ResultOptions = {}): Tensor<'f32'> {
  checkFloat32('gather', { table }, options);
  checkTensors({ indices });
  commonRuntime({ table, indices });
  checkContiguous({ table, indices });
  if (table.rank !== 2) throw new ShapeError(`table must have shape [t, c], got ${formatShape(table.shape)}`);
  if (indices.dtype !== 'i32') throw new DTypeError(`indices must be i32, got ${indices.dtype}`);
  if (indices.size === 0) throw new ShapeError(`indices ${formatShape(indices.shape)} is empty`);
  const spec = { shape: [...indices.shape, table.shape[1] as number], dtype: 'f32', given: options.out } as const;
  const rows = table.shape[0] as number;
  const { out } = compute(op, { table, indices }, { out: spec }, ({ out }) => ({ table, indices, out }), options, {
    derivative: {
      saves: ['indices'],
      gradients: (saved, { out: gradOut }, _, control) => ({
        table: scatterAdd(gradOut as Tensor, saved.indices as Tensor, rows, control),
      }),
    },
  });
  return out;
}
