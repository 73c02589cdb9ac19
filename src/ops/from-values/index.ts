/** Tensors that are made in host memory from the elements of others. */

import { address } from '../../runtime/cpu/plan';
import type { Host, Op } from '../../runtime/op';
import type { Workspace } from '../../runtime/webgpu/plan';
import type { Shape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import { checkTensors } from '../check';
import { compute, type Values } from '../compute';

interface FromValuesCall {
  readonly out: Tensor;
  readonly numbers: Float64Array;
}

const op: Op<FromValuesCall> = {
  name: 'fromValues',
  reference:
    async () =>
    ({ out, numbers }, { store }: Host) =>
      store(out, numbers),
  cpu({ out, numbers }, { memory }) {
    new Float32Array(memory.buffer, address(out), out.size).set(numbers);
    return { jobs: () => [] };
  },
  webgpu:
    async () =>
    ({ out, numbers }: FromValuesCall, workspace: Workspace) => {
      workspace.write(out, Float32Array.from(numbers));
      return { dispatches: [] };
    },
};

/**
 * The numbers that `make` gives once the elements of `tensors` are computed, as an f32 tensor of this shape: for small
 * tables in float64, such as angles of positions, without a read in between. What `make` throws is a fault of the result.
 */
export function fromValues(
  tensors: Readonly<Record<string, Tensor>>,
  shape: Shape,
  make: (values: Values) => Float64Array,
): Tensor<'f32'> {
  checkTensors(tensors);
  const spec = { shape, dtype: 'f32' } as const;
  const call = ({ out }: { out: Tensor }, values: Values) => ({ out, numbers: make(values) });
  return compute(op, tensors, { out: spec }, call, {}, { known: tensors }).out;
}
