/**
 * LRPE, linearised relative positions: the token at position t becomes x cos(theta t) and x sin(theta t), channel by
 * channel, so that the product of a query at t and a key at s is the sum of q_j k_j cos(theta_j (t - s)). The two parts go
 * through attentions of their own, whose results add up to that of the joined 2 d features.
 * Source: Qin et al. 2023, TransNormerLLM, arXiv 2307.14995; the real form as in its code.
 */
import { checkKnown, checkWhole } from '../check';
import { ShapeError } from '../errors';
import { checkFloat32 } from '../ops/float32';
import { cos, multiply, sin } from '../ops/map';
import { matmul } from '../ops/matmul';
import { formatShape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';

/** [n, h, d] each. */
export type LrpeFactors = Readonly<Record<'cos' | 'sin', Tensor>>;

/** The angles that training starts from: 10000^(-2 j / D) for the D channels j of all heads. */
export function lrpeAngles(channels: number): Float32Array {
  checkWhole('channels', channels, 1);
  return Float32Array.from({ length: channels }, (_, j) => 10_000 ** ((-2 * j) / channels));
}

/** The factors on n tokens, for theta [h, d]. */
export function lrpeFactors(theta: Tensor, n: number): LrpeFactors {
  checkFloat32('lrpeFactors', { theta }, {});
  if (theta.rank !== 2) throw new ShapeError(`theta must have shape [h, d], got ${formatShape(theta.shape)}`);
  checkWhole('n', n, 1);
  return theta.runtime.scope(() => {
    const positions = theta.runtime.tensor(
      Float32Array.from({ length: n }, (_, t) => t),
      [n, 1],
    );
    const angles = matmul(positions, theta.reshape([1, theta.size])).reshape([n, ...theta.shape]);
    return { cos: cos(angles), sin: sin(angles) };
  });
}

/** Both parts of x [b, n, h, d]. */
export function lrpe(x: Tensor, factors: LrpeFactors): Record<'cos' | 'sin', Tensor> {
  checkKnown('factors', factors, ['cos', 'sin'], (name) => `factors have no '${name}'`);
  checkFloat32('lrpe', { x, cos: factors.cos, sin: factors.sin }, {});
  return { cos: multiply(x, factors.cos), sin: multiply(x, factors.sin) };
}
