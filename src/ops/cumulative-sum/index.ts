import { overElements } from '../../runtime/cpu/plan';
import type { Derivative } from '../../tensor/tape';
import type { Tensor } from '../../tensor/tensor';
import { boolean, defineOp, f32, type OptionsOf } from '../define';
import type { ResultOptions } from '../float32';
import { CumulativeSumParams, kernels } from './params.generated';

/** Elements of a task at least, if there are so many: long rows are a task each. */
const TASK = 4096;

export const cumulativeSumOp = defineOp({
  name: 'cumulativeSum',
  inputs: { x: f32('... c') },
  options: {
    /** Whether sums run from each element to the last of its row, instead of from the first to it; default false. */
    reverse: boolean(false),
  },
  results: { out: f32('... c') },
  operations: '... c',
  reference: async () => (await import('./reference')).cumulativeSum,
  kernels,
  cpu({ x, out, reverse }) {
    const columns = x.shape.at(-1) as number;
    const rows = x.size / columns;
    const rowsOfTask = Math.ceil(TASK / columns);
    const params = CumulativeSumParams({ rows, columns, rowsOfTask, reverse, x, out });
    return overElements('cumulativeSum', Math.ceil(rows / rowsOfTask), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planCumulativeSum,
  derivative: ({ reverse }): Derivative => ({
    saves: [],
    gradients: (_, { out }, __, control) => ({ x: cumulativeSum(out as Tensor, { reverse: !reverse, ...control }) }),
  }),
});

export interface CumulativeSumOptions extends OptionsOf<typeof cumulativeSumOp>, ResultOptions {}

/**
 * Cumulative sums along the last axis, each with its own element: x [..., c] -> [..., c], f32, contiguous. Summed in
 * float64 on the CPU and in float32, by blocks, on the GPU. The gradient with respect to x is the cumulative sum of the
 * results' gradient in the other direction: `cumulativeSum(gradOut, { reverse: !reverse })`.
 *
 * @throws {ShapeError} no axis, an empty tensor, strided views
 * @throws {DTypeError} an input that is not f32
 */
export function cumulativeSum(x: Tensor, options: CumulativeSumOptions = {}): Tensor<'f32'> {
  return cumulativeSumOp({ x }, options).out;
}
