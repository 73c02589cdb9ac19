import { checkBoolean } from '../../check';
import { ShapeError } from '../../errors';
import type { KernelFiles } from '../../runtime/wasm/modules';
import { overElements } from '../../runtime/wasm/plan';
import { formatShape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { compute } from '../compute';
import { checkContiguous, checkFloat32, type ResultOptions } from '../float32';
import type { Op } from '../op';
import type { CumulativeSumCall } from './call';
import { CumulativeSumParams } from './params.generated';

const kernels: KernelFiles = {
  relaxed: () => new URL('./cumulative-sum.relaxed.wasm', import.meta.url),
  baseline: () => new URL('./cumulative-sum.baseline.wasm', import.meta.url),
};

/** Elements of a task at least, if there are so many: long rows are a task each. */
const TASK = 4096;

const op: Op<CumulativeSumCall> = {
  name: 'cumulativeSum',
  reference: async () => (await import('./reference')).cumulativeSum,
  kernels,
  wasm({ x, out, reverse }) {
    const columns = x.shape.at(-1) as number;
    const rows = x.size / columns;
    const rowsOfTask = Math.ceil(TASK / columns);
    const params = CumulativeSumParams({ rows, columns, rowsOfTask, reverse, x, out });
    return overElements('cumulativeSum', Math.ceil(rows / rowsOfTask), params, x.size);
  },
  webgpu: async () => (await import('./webgpu')).planCumulativeSum,
};

export interface CumulativeSumOptions extends ResultOptions {
  /** Whether sums run from each element to the last of its row, instead of from the first to it; default false. */
  readonly reverse?: boolean | undefined;
}

/**
 * Cumulative sums along the last axis, each with its own element: x [..., c] -> [..., c], f32, contiguous. Summed in
 * float64 on the CPU and in float32, by blocks, on the GPU. The gradient with respect to x is the cumulative sum of the
 * results' gradient in the other direction: `cumulativeSum(gradOut, { reverse: !reverse })`.
 *
 * @throws {ShapeError} no axis, an empty tensor, strided views
 * @throws {DTypeError} an input that is not f32
 */
export function cumulativeSum(x: Tensor, options: CumulativeSumOptions = {}): Tensor<'f32'> {
  checkFloat32('cumulativeSum', { x }, options, ['reverse']);
  const { reverse = false } = options;
  checkBoolean('reverse', reverse);
  checkContiguous({ x });
  if (x.rank < 1) throw new ShapeError(`x must have shape [..., c], got ${formatShape(x.shape)}`);
  const spec = { shape: x.shape, dtype: 'f32', given: options.out } as const;
  const { out } = compute(op, { x }, { out: spec }, ({ out }) => ({ x, out, reverse }), options, {
    derivative: {
      saves: [],
      gradients: (_, { out: gradOut }, __, control) => ({
        x: cumulativeSum(gradOut as Tensor, { reverse: !reverse, ...control }),
      }),
    },
  });
  return out;
}
