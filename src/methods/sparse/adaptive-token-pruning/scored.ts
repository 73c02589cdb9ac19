/** Attention that tells how much the class token sees of each token, under a policy of tokens that count. */

import { contiguous } from '../../../ops/copy';
import { map } from '../../../ops/map/map';
import { matmul } from '../../../ops/matmul';
import { max, sum } from '../../../ops/reduce';
import { softmax } from '../../../ops/softmax';
import { stopGradient } from '../../../tape';
import type { Tensor } from '../../../tensor/tensor';

export interface Scored {
  /** [b, n, h, e]. */
  readonly out: Tensor<'f32'>;
  /** [b, n - 1]: of each token but the first. */
  readonly score: Tensor<'f32'>;
}

/** Added to the sum of the norms of all heads. */
const LEAST_NORM = 1e-8;

/**
 * q, k [b, n, h, d] and v [b, n, h, e]; with `policy` [b, n], f32, a token sees those of policy 1 and itself: weights are
 * (e^(s - max s) P + epsilon / n) / (sum + epsilon), with the maximum over all keys, which has no gradient.
 */
export function scoredAttention(q: Tensor, k: Tensor, v: Tensor, epsilon: number, policy?: Tensor<'f32'>): Scored {
  const [b, n, h, d] = q.shape as [number, number, number, number];
  return q.runtime.scope(() => {
    const byHead = (x: Tensor) => contiguous((x as Tensor<'f32'>).permute([0, 2, 1, 3]));
    const products = matmul(byHead(q), byHead(k), { transposeB: true });
    const scale = 1 / Math.sqrt(d);
    const weights = policy
      ? maskedWeights(products, scale, epsilon, policy)
      : softmax(map((s, { scale }) => s * scale, products, { captured: { scale } }));
    const context = matmul(weights, byHead(v));
    const norms = map(
      (square) => Math.sqrt(square),
      sum(
        map((c) => c * c, context),
        { axes: [3] },
      ),
    );
    const all = sum(norms, { axes: [1], keepDims: true });
    // [b, h, n]: how much the class token sees of each, weighed by how large a head's result is there beside the others'.
    const seen = contiguous(weights.slice(2, 0, 1).reshape([b, h, n]));
    const shares = map((norm, total, weight, { least }) => (norm / (total + least)) * weight, norms, all, seen, {
      captured: { least: LEAST_NORM },
    });
    const score = contiguous(sum(shares, { axes: [1] }).slice(1, 1, n));
    return { out: contiguous(context.permute([0, 2, 1, 3])), score };
  });
}

function maskedWeights(products: Tensor<'f32'>, scale: number, epsilon: number, policy: Tensor<'f32'>): Tensor<'f32'> {
  const { runtime, shape } = products;
  const [b, , n] = shape as [number, number, number, number];
  const own = runtime.tensor(
    Float32Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0)),
    [n, n],
  );
  const largest = max(stopGradient(products), { axes: [3], keepDims: true });
  const counted = map(
    (s, most, keep, self, { scale }) => Math.exp(scale * (s - most)) * (self + (1 - self) * keep),
    products,
    largest,
    policy.reshape([b, 1, 1, n]),
    own,
    { captured: { scale } },
  );
  const sums = sum(counted, { axes: [3], keepDims: true });
  return map((each, total, { part, whole }) => (each + part) / (total + whole), counted, sums, {
    captured: { part: epsilon / n, whole: epsilon },
  }) as Tensor<'f32'>;
}
