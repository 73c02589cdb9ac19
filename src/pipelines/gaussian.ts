/** Normal distributions of independent numbers, by their means and the logarithms of their variances. */
import { map } from '../ops/map/map';
import { sum } from '../ops/reduce';
import type { Tensor } from '../tensor/tensor';

export interface Gaussian {
  readonly mean: Tensor;
  readonly logVariance: Tensor;
}

/** What standard normal noise becomes under it. */
export const drawn = ({ mean, logVariance }: Gaussian, noise: Tensor): Tensor =>
  map((mean, log, noise) => mean + Math.exp(0.5 * log) * noise, mean, logVariance, noise);

/** The sum over all numbers of how far a is from b (Kullback and Leibler). */
export const divergence = (a: Gaussian, b: Gaussian): Tensor<'f32'> =>
  sum(
    map(
      (mean, log, m, s) => 0.5 * (s - log + (Math.exp(log) + (mean - m) * (mean - m)) * Math.exp(-s) - 1),
      a.mean,
      a.logVariance,
      b.mean,
      b.logVariance,
    ),
  );
