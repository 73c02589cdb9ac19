/** Attention within the regions of a picture that are most like one's own. */
import { bilevelRoutingAttention as method } from '../methods/sparse/bilevel-routing-attention';
import type { Runtime } from '../runtime/runtime';
import { hostTensor } from '../tensor/host';
import type { Tensor } from '../tensor/tensor';
import { known } from './expected';
import { joined } from './operation';
import type { Operation, Problem } from './problem';

/** Regions along both axes, and those that each sees, as in the second stage of BiFormer. */
export const REGIONS = 7;
export const TOP_REGIONS = 4;
const params = method.parse({ regions: REGIONS, topRegions: TOP_REGIONS });

/** Tokens are a square. */
const shapeOf = ({ n, h, d }: Problem) => [1, Math.sqrt(n), Math.sqrt(n), h, d];

export const routedOperation: Operation = {
  name: method.name,
  flops: ({ n, h, d }) => (4 * d * h * n ** 2 * TOP_REGIONS) / REGIONS ** 2,
  size: ({ n, h, d }) => n * h * d,
  bytes: ({ n, h, d }) => 16 * n * h * d,
  expected(problem, { q, k, v }) {
    const host = (data: Float32Array) => hostTensor(data, shapeOf(problem));
    const { out } = method.reference({ q: host(q), k: host(k), v: host(v) }, params);
    return [known((out as { data: Float64Array }).data, 'largest result')];
  },
  open(runtime, { problem, inputs }) {
    const tensors = operandsOf(runtime, problem, inputs);
    let last: Tensor | undefined;
    const dispose = () => last?.dispose();
    return {
      call(control) {
        dispose();
        last = method.forward(tensors, params, control).out;
      },
      result: () => joined([last as Tensor]),
      tensors: [...Object.values(tensors), { dispose }],
    };
  },
};

const operandsOf = (runtime: Runtime, problem: Problem, { q, k, v }: Parameters<Operation['expected']>[1]) => {
  const tensor = (data: Float32Array) => runtime.tensor(data, shapeOf(problem));
  return { q: tensor(q), k: tensor(k), v: tensor(v) };
};
