/** Rows seen along directions, which are uploaded for each call: they are small beside what they are multiplied with. */
import { matmul } from '../ops/matmul';
import type { Tensor } from '../tensor/tensor';
import type { FeatureOptions } from './feature-map';

/** x [r, d] times the directions [m, d], transposed -> [r, m]. */
export function project(x: Tensor, directions: Float32Array, options: FeatureOptions): Tensor<'f32'> {
  const d = x.shape[1] as number;
  using rows = x.runtime.tensor(directions, [directions.length / d, d]);
  using columns = rows.permute([1, 0]);
  return matmul(x, columns, options);
}

/** The gradient with respect to x [r, d] from that by `project(x, directions)` [r, m]. */
export function projectBackward(gradient: Tensor, directions: Float32Array, options: FeatureOptions): Tensor<'f32'> {
  const m = gradient.shape[1] as number;
  using rows = gradient.runtime.tensor(directions, [m, directions.length / m]);
  return matmul(gradient, rows, options);
}
