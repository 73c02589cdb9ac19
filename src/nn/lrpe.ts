/**
 * LRPE, linearised relative positions: the token at position t becomes x cos(theta t) and x sin(theta t), channel by
 * channel, so that the product of a query at t and a key at s is the sum of q_j k_j cos(theta_j (t - s)). The two parts go
 * through attentions of their own, whose results add up to that of the joined 2 d features.
 * Source: Qin et al. 2023, TransNormerLLM, arXiv 2307.14995; the real form as in its code.
 */
import { checkKnown, checkWhole } from '../check';
import { checkTensors, commonRuntime } from '../ops/check';
import { add, cos, multiply, sin, subtract } from '../ops/map';
import { matmul } from '../ops/matmul';
import { sum } from '../ops/reduce';
import type { Runtime } from '../runtime/runtime';
import type { Tensor } from '../tensor/tensor';
import { checkRuntime } from './module';

/** [n, h, d] each. */
export type LrpeFactors = Readonly<Record<'cos' | 'sin', Tensor>>;

/** The angles that training starts from: 10000^(-2 j / D) for the channels j of all heads, [h, d]. */
export function lrpeAngles(runtime: Runtime, heads: number, channels: number): Tensor {
  checkRuntime(runtime);
  checkWhole('heads', heads, 1);
  checkWhole('channels', channels, 1);
  const width = heads * channels;
  const angles = Float64Array.from({ length: width }, (_, j) => 10_000 ** ((-2 * j) / width));
  return runtime.tensor(Float32Array.from(angles), [heads, channels]);
}

/** What n tokens are multiplied by, for theta [h, d]. */
export function lrpeFactors(theta: Tensor, n: number): LrpeFactors {
  checkTensors({ theta });
  theta.assertUsable('theta');
  checkWhole('n', n, 1);
  using column = theta.runtime.tensor(positions(n), [n, 1]);
  using row = theta.reshape([1, theta.size]);
  using product = matmul(column, row);
  using angles = product.reshape([n, ...theta.shape]);
  return { cos: cos(angles), sin: sin(angles) };
}

/** Both parts of x [b, n, h, d]. */
export function lrpe(x: Tensor, factors: LrpeFactors): Record<'cos' | 'sin', Tensor> {
  checkPair('factors', { x }, factors);
  return { cos: multiply(x, factors.cos), sin: multiply(x, factors.sin) };
}

/** Gradients with respect to x and by theta [h, d] from those by both parts. */
export function lrpeBackward(
  x: Tensor,
  factors: LrpeFactors,
  grads: Readonly<Record<'cos' | 'sin', Tensor>>,
): Record<'x' | 'theta', Tensor> {
  checkPair('factors', { x }, factors);
  checkPair('grads', { x }, grads);
  return x.runtime.scope(() => {
    const times = (a: Tensor, b: Tensor) => multiply(a, b);
    const [, n, h, d] = x.shape as [number, number, number, number];
    const byX = add(times(grads.cos, factors.cos), times(grads.sin, factors.sin));
    const slope = subtract(times(grads.sin, factors.cos), times(grads.cos, factors.sin));
    const gradAngle = sum(times(slope, x), { axes: [0] }).reshape([n, h * d]);
    const gradTheta = matmul(x.runtime.tensor(positions(n), [1, n]), gradAngle);
    return { x: byX, theta: gradTheta.reshape([h, d]) };
  });
}

function positions(n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, t) => t);
}

/** Throws unless `pair` holds two tensors, of the runtime of x. */
function checkPair(what: string, { x }: { readonly x: Tensor }, pair: Readonly<Record<'cos' | 'sin', Tensor>>): void {
  checkKnown(what, pair, ['cos', 'sin'], (name) => `${what} have no '${name}'`);
  const tensors = { x, cos: pair.cos, sin: pair.sin };
  checkTensors(tensors);
  commonRuntime(tensors);
}
