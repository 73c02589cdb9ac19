/** Calls of scatterAdd, with a derivative or, in backward passes, without. */
import { checkWhole } from '../../check';
import { DTypeError, ShapeError } from '../../errors';
import type { Op } from '../../runtime/op';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape, sameShape } from '../../tensor/shape';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { checkTensors, commonRuntime, indicesWithin } from '../check';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { ScatterAddCall } from './call';
import { CACHED, kernels, LINE, ScatterAddParams } from './params.generated';

const op: Op<ScatterAddCall> = {
  name: 'scatterAdd',
  reference: async () => (await import('./reference')).scatterAdd,
  kernels,
  wasm({ values, indices, out }, { threads }) {
    const [rows, columns] = out.shape as [number, number];
    const count = indices.size;
    // So few that walking the indices takes less than adding.
    const ranges = Math.min(Math.ceil(out.size / CACHED), 32 + 2 * columns);
    const range = Math.ceil(rows / ranges);
    const slices = Math.ceil((2 * threads) / ranges);
    const width = LINE * Math.ceil(columns / LINE / slices);
    const tasks = Math.ceil(rows / range) * Math.ceil(columns / width);
    const params = ScatterAddParams({ count, rows, columns, width, range, values, indices, out });
    return overElements('scatterAdd', tasks, params, out.size + 2 * values.size + tasks * count);
  },
  webgpu: async () => (await import('./webgpu')).planScatterAdd,
  faults: ({ indices, out }) => indicesWithin(indices, out.shape[0] as number),
};

export function addRows(
  values: Tensor,
  indices: Tensor,
  rows: number,
  options: ResultOptions = {},
  derivative?: Derivative,
): Tensor<'f32'> {
  checkFloat32('scatterAdd', { values }, options);
  checkTensors({ indices });
  commonRuntime({ values, indices });
  checkContiguous({ values, indices });
  checkWhole('rows', rows, 1, 2 ** 31 - 1);
  if (values.rank === 0) throw new ShapeError('values must have shape [..., c], got []');
  if (indices.dtype !== 'i32') throw new DTypeError(`indices must be i32, got ${indices.dtype}`);
  const [shape, columns] = [values.shape.slice(0, -1), values.shape.at(-1) as number];
  if (!sameShape(indices.shape, shape))
    throw new ShapeError(
      `indices must have shape ${formatShape(shape)} as the rows of values ${formatShape(values.shape)}, got ${formatShape(indices.shape)}`,
    );
  const spec = { shape: [rows, columns], dtype: 'f32', given: options.out } as const;
  const call = ({ out }: { out: Tensor }) => ({ values, indices, out });
  return compute(op, { values, indices }, { out: spec }, call, options, { derivative }).out;
}
