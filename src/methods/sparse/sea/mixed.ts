/** What SEA makes of attention to chosen keys and of a mean of the values. */
import { contiguous } from '../../../ops/copy';
import { cumulativeSum } from '../../../ops/cumulative-sum';
import { add, multiply } from '../../../ops/map';
import { map } from '../../../ops/map/map';
import type { Control } from '../../../runtime/backend';
import type { Tensor } from '../../../tensor/tensor';

/** chosen [b, n, h, e] and means that fit [b, n, g, h / g, e] by the gates prob and mix [b, n, h] -> [b, n, h, e]. */
export function mixed(
  chosen: Tensor,
  means: Tensor,
  { prob, mix }: Readonly<Record<'prob' | 'mix', Tensor>>,
  g: number,
  control: Pick<Control, 'signal'> = {},
): Tensor<'f32'> {
  const [b, n, h, e] = chosen.shape as [number, number, number, number];
  const shape = [b, n, g, h / g];
  const out = map(
    (chosen, mean, prob, mix) => mix * prob * chosen + (1 - mix) * mean,
    chosen.reshape([...shape, e]),
    means,
    prob.reshape([...shape, 1]),
    mix.reshape([...shape, 1]),
    { signal: control.signal },
  ) as Tensor<'f32'>;
  return out.reshape([b, n, h, e]);
}

/** Tokens before those at hand, and the sum of their values, [1, g, 1, e]. */
interface Before {
  readonly tokens: number;
  readonly sum: Tensor;
}

/** The mean of the values up to each token: v [b, n, g, e] -> [b, n, g, 1, e]. */
export function runningMean(v: Tensor, before?: Before): Tensor {
  const [b, n, g, e] = v.shape as [number, number, number, number];
  const own = cumulativeSum(contiguous(v.permute([0, 2, 3, 1])));
  const sums = before ? add(own, before.sum.reshape([1, g, e, 1])) : own;
  const shares = v.runtime.tensor(
    Float32Array.from({ length: n }, (_, i) => 1 / ((before?.tokens ?? 0) + i + 1)),
    [n],
  );
  return contiguous(multiply(sums, shares).permute([0, 3, 1, 2])).reshape([b, n, g, 1, e]);
}
