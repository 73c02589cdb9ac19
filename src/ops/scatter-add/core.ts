/** Sums of rows by index, without a derivative, as backward passes have them. */
import { overElements } from '../../runtime/cpu/plan';
import type { Tensor } from '../../tensor/tensor';
import { indicesWithin } from '../check';
import { defineOp, f32, i32, whole } from '../define';
import type { ResultOptions } from '../float32';
import { CACHED, kernels, LINE, ScatterAddParams } from './params.generated';

export const addRowsOp = defineOp({
  name: 'scatterAdd',
  inputs: { values: f32('... c'), indices: i32('...'), rows: whole({ least: 1, most: 2 ** 31 - 1 }) },
  results: { out: f32('rows c') },
  operations: '... c',
  reference: async () => (await import('./reference')).scatterAdd,
  kernels,
  cpu({ values, indices, out }, { threads }) {
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
});

export function addRows(values: Tensor, indices: Tensor, rows: number, options: ResultOptions = {}): Tensor<'f32'> {
  return addRowsOp({ values, indices, rows }, options).out;
}
