/** `dydila` on ops. */
import { contiguous } from '../../../ops/copy';
import { linearAttention } from '../../../ops/linear-attention';
import { map } from '../../../ops/map/map';
import { focus, route } from '../../../ops/routing';
import type { Control } from '../../../runtime/backend';
import type { Tensor } from '../../../tensor/tensor';
import type { DydilaInputs, DydilaParams } from './reference';

type Inputs = DydilaInputs<Tensor>;

export function attend(inputs: Inputs, params: DydilaParams, control: Control): Tensor {
  const { q, k, v } = inputs;
  return q.runtime.scope(() => {
    const queries = difference(0, inputs, params, params.scale ?? 1 / (k.shape[1] as number));
    const keys = difference(1, inputs, params, 1);
    const { out } = linearAttention(queries, keys, v, control);
    if (params.normalise === 'none') return out;
    const ones = k.runtime.tensor([1], []).expand([...k.shape.slice(0, 3), 1]);
    const total = linearAttention(queries, keys, ones, control).out;
    return map((x, total, { epsilon }) => x / Math.max(Math.abs(total), epsilon), out, total, {
      captured: { epsilon: params.epsilon },
    });
  });
}

/** Features of queries (side 0) or keys (side 1) less a share of the redundant ones, times the factor. */
function difference(side: 0 | 1, inputs: Inputs, params: DydilaParams, factor: number): Tensor {
  const [x, redundant] = side === 0 ? [inputs.q, inputs.q_redundant] : [inputs.k, inputs.k_redundant];
  const phi = features(side, x, inputs, params);
  if (!redundant) return factor === 1 ? phi : map((phi, { factor }) => factor * phi, phi, { captured: { factor } });
  const other = features(side + 2, redundant, inputs, params);
  const { lambda, lambda_router: routers } = inputs;
  const share =
    lambda && routers
      ? route([phi, other], partOf(routers, side), lambda)
      : (lambda ?? x.runtime.tensor([params.lambda], [1]));
  return map((phi, other, share, { factor }) => factor * (phi - share * other), phi, other, share, {
    captured: { factor },
  });
}

/** phi(x), by the exponents of one of the four kernels. */
export function features(kernel: number, x: Tensor, inputs: Inputs, params: DydilaParams): Tensor {
  const { gamma, gamma_router: routers } = inputs;
  const bank = gamma ? partOf(gamma, kernel) : x.runtime.tensor([params.gamma], [1]);
  const exponents = routers
    ? route(x, partOf(routers, kernel), bank)
    : contiguous(bank.expand([...x.shape.slice(0, -1), 1]));
  return focus(x, exponents);
}

/** The part at an index of the first axis. */
function partOf(x: Tensor, index: number): Tensor {
  return x.slice(0, index, index + 1).reshape(x.shape.slice(1));
}
